"""BERT and ModernBERT: truncated at real sigmas."""

from __future__ import annotations

from math import sqrt
from typing import Annotated

from fanin.recipes.matching import contracts, has_role, in_stack
from fanin.recipes.recipe import Recipe
from fanin.recipes.rule import Rule
from fanin.recipes.tensor_info import TensorInfo
from fanin.recipes.transformer_rules import (
    BESIDE_WEIGHTS,
    TABLES,
    by_depth,
    model_width,
    residual_output,
    truncated,
    why_by_depth,
)


def bert(
    std: Annotated[float, "of the normal law before it is cut; values have 0.8796 of it"] = 0.02,
    cutoff: Annotated[float, "values are cut at this many sigmas"] = 2.0,
) -> Recipe:
    """N(0, std²) cut at ±2 sigmas for every weight and table: values have std 0.01759, none beyond 0.04. Biases 0.

    transformers draws N(0, 0.02²) uncut instead, and torch's `trunc_normal_(std=0.02)` has its bounds at ±2, which is
    100 sigmas.

    >>> from fanin.recipes import named
    >>> named("bert").source
    'Devlin et al. 2019, arXiv 1810.04805; google-research/bert modeling.py, truncated_normal_initializer'
    """
    why = f"std {std:g} cut at ±{cutoff:g} sigmas, as TensorFlow's truncated normal"
    rules = (
        Rule(TABLES, truncated(std, cutoff), why),
        Rule(contracts, truncated(std, cutoff), why),
        *BESIDE_WEIGHTS,
    )
    return Recipe(
        "bert",
        rules,
        "one std for all weights, cut at ±2 sigmas",
        "Devlin et al. 2019, arXiv 1810.04805; google-research/bert modeling.py, truncated_normal_initializer",
    )


def modernbert(
    std: Annotated[float, "before the division"] = 0.02,
    cutoff: Annotated[float, "values are cut at this many sigmas"] = 2.0,
) -> Recipe:
    """`std` for tables and what reads the stream, std/√(2·layers) for residual outputs, 1/√width for an untied head.

    A weight between the stack and the head is divided like a residual output.

    >>> from fanin.recipes import options
    >>> [option.default for option in options("modernbert")]
    [0.02, 2.0]
    """
    return Recipe(
        "modernbert",
        (
            Rule(residual_output, truncated(lambda tensor: std / by_depth(tensor), cutoff), why_by_depth),
            Rule(has_role("head"), truncated(_root_width, cutoff), "1/√width: logits of unit variance"),
            Rule(TABLES, truncated(std, cutoff), f"std {std:g} for every table"),
            Rule(_between, truncated(lambda tensor: std / sqrt(tensor.model_branches), cutoff), _why_between),
            Rule(contracts, truncated(std, cutoff), f"std {std:g} for what reads the stream"),
            *BESIDE_WEIGHTS,
        ),
        "as megatron, cut at ±2 sigmas, head 1/√width",
        "Warner et al. 2024, arXiv 2412.13663; AnswerDotAI/ModernBERT src/bert_layers/initialization.py, full_megatron",
    )


def _between(tensor: TensorInfo) -> bool:
    return contracts(tensor) and not in_stack(tensor) and tensor.model_branches > 0


def _why_between(tensor: TensorInfo) -> str:
    return f"between stack and head: divided by √{tensor.model_branches} like a residual output"


def _root_width(tensor: TensorInfo) -> float:
    return 1 / sqrt(model_width(tensor))
