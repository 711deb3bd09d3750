"""GPT-2 and Megatron: one standard deviation for all, residual outputs divided by the root of their number."""

from __future__ import annotations

from typing import Annotated

from fanin.recipes.matching import contracts
from fanin.recipes.recipe import Recipe
from fanin.recipes.rule import Rule
from fanin.recipes.transformer_rules import BESIDE_WEIGHTS, TABLES, by_depth, normal, residual_output, why_by_depth


def gpt2(std: Annotated[float, "of every weight and table, before the division"] = 0.02) -> Recipe:
    """N(0, std²); the last weight of each of the N residual branches N(0, std²/N). Biases 0.

    Released models have std 0.02 and 2 branches per layer. OpenAI's code draws positions from N(0, 0.01²) and leaves
    the division out; the paper has it, and so have transformers and nanoGPT, with positions like other tables.

    >>> from fanin.recipes import named
    >>> named("gpt2,std=0.01").name
    'gpt2,std=0.01'
    """
    return _scaled(
        "gpt2",
        std,
        std,
        "one std for all weights, residual outputs divided by √(their number)",
        "Radford et al. 2019, section 2.3; transformers and nanoGPT for the 0.02",
    )


def megatron(
    std: Annotated[float, "of every weight, before the division"] = 0.02,
    embedding_std: Annotated[float, "of lookup tables"] = 0.02,
) -> Recipe:
    """As `gpt2`, with a std of its own for lookup tables.

    Megatron counts two branches per layer, in hybrid models one; here they are counted in the graph.

    >>> from fanin.recipes import options
    >>> [option.name for option in options("megatron")]
    ['std', 'embedding_std']
    """
    return _scaled(
        "megatron",
        std,
        embedding_std,
        "as gpt2, lookup tables with a std of their own",
        "Shoeybi et al. 2019, arXiv 1909.08053; Megatron-LM transformer_config.py, init_method_std",
    )


def _scaled(name: str, std: float, table_std: float, title: str, source: str) -> Recipe:
    rules = (
        Rule(residual_output, normal(lambda tensor: std / by_depth(tensor)), why_by_depth),
        Rule(TABLES, normal(table_std), f"std {table_std:g} for every table"),
        Rule(contracts, normal(std), f"std {std:g} for every weight"),
        *BESIDE_WEIGHTS,
    )
    return Recipe(name, rules, title, source)
