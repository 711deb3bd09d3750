"""Whisper: one standard deviation for all, the encoder's positions fixed sinusoids."""

from __future__ import annotations

from typing import Annotated

from fanin.recipes.matching import both, contracts, either, is_called, on_side
from fanin.recipes.recipe import Recipe
from fanin.recipes.rule import Rule
from fanin.recipes.transformer_rules import BESIDE_WEIGHTS, TABLES, normal

# Where the graph does not say on which side a table stands, its name does.
_SINUSOIDS = either(both(TABLES, on_side("encoder")), is_called("*encoder.embed_positions"))


def whisper(std: Annotated[float, "of every weight and table"] = 0.02) -> Recipe:
    """N(0, std²) for weights, convolutions and the decoder's tables; biases 0; the encoder's sinusoids stay.

    OpenAI published no start: the code it released only loads checkpoints, has torch's defaults elsewhere and leaves
    the decoder's positions uninitialized. This is the start that transformers gives.

    >>> from fanin.recipes import named
    >>> named("whisper").title
    "one std for all weights, the encoder's sinusoids as they are"
    """
    rules = (
        Rule(_SINUSOIDS, lambda _: None, "fixed sinusoids, which are not trained"),
        Rule(TABLES, normal(std), f"std {std:g} for every table"),
        Rule(contracts, normal(std), f"std {std:g} for every weight"),
        *BESIDE_WEIGHTS,
    )
    return Recipe(
        "whisper",
        rules,
        "one std for all weights, the encoder's sinusoids as they are",
        "Radford et al. 2022, arXiv 2212.04356; transformers modeling_whisper.py, init_std",
    )
