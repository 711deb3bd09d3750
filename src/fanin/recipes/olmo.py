"""The three starts of OLMo: `mitchell` by fans and layer, `full_megatron` by depth, `normal` by nothing."""

from __future__ import annotations

from math import sqrt
from typing import Annotated

from fanin.recipes.matching import contracts, has_role
from fanin.recipes.recipe import Recipe
from fanin.recipes.rule import Rule
from fanin.recipes.tensor_info import TensorInfo
from fanin.recipes.transformer_rules import (
    BESIDE_WEIGHTS,
    TABLES,
    by_depth,
    by_layer,
    model_width,
    normal,
    residual_output,
    truncated,
    why_by_depth,
    why_by_layer,
)

_SOURCE = "Groeneveld et al. 2024, arXiv 2402.00838; OLMo olmo/model.py"
Cutoff = Annotated[float, "values are cut at this many sigmas"]


def olmo_mitchell(cutoff: Cutoff = 3.0) -> Recipe:
    """1/√width for tables, head and the weights that read the stream; residual outputs 1/√(2·fan_in·(layer + 1)).

    For an attention output OLMo has the width in the place of fan_in, which is the same where heads fill the width.

    >>> from fanin.recipes import named
    >>> named("olmo-mitchell").source
    'Groeneveld et al. 2024, arXiv 2402.00838; OLMo olmo/model.py, InitFnType.mitchell'
    """
    return Recipe(
        "olmo-mitchell",
        (
            Rule(residual_output, truncated(_mitchell, cutoff), lambda tensor: f"fan-in; {why_by_layer(tensor)}"),
            Rule(TABLES, truncated(_root_width, cutoff), "1/√width"),
            Rule(contracts, truncated(_root_fan_in, cutoff), "reads the stream: 1/√width"),
            *BESIDE_WEIGHTS,
        ),
        "1/√fan-in, residual outputs divided by √(2(layer + 1))",
        f"{_SOURCE}, InitFnType.mitchell",
    )


def olmo_megatron(std: Annotated[float, "before the division"] = 0.02, cutoff: Cutoff = 3.0) -> Recipe:
    """`std`, residual outputs std/√(2·layers), an untied head 1/√width.

    >>> from fanin.recipes import named
    >>> named("olmo-megatron").version
    1
    """
    return Recipe(
        "olmo-megatron",
        (
            Rule(residual_output, truncated(lambda tensor: std / by_depth(tensor), cutoff), why_by_depth),
            Rule(has_role("head"), truncated(_root_width, cutoff), "1/√width: logits of unit variance"),
            Rule(TABLES, truncated(std, cutoff), f"std {std:g} for every table"),
            Rule(contracts, truncated(std, cutoff), f"std {std:g} for every weight"),
            *BESIDE_WEIGHTS,
        ),
        "as megatron, cut at 3 sigmas, head 1/√width",
        f"{_SOURCE}, InitFnType.full_megatron",
    )


def olmo_normal(std: Annotated[float, "of every weight and table"] = 0.02) -> Recipe:
    """N(0, std²) for all, residual outputs and head too, not cut.

    >>> from fanin.recipes import named
    >>> named("olmo-normal").version
    1
    """
    return Recipe(
        "olmo-normal",
        (
            Rule(TABLES, normal(std), f"std {std:g} for every table"),
            Rule(contracts, normal(std), f"std {std:g} for every weight"),
            *BESIDE_WEIGHTS,
        ),
        "one std for all weights, no scaling with depth",
        f"{_SOURCE}, InitFnType.normal",
    )


def _mitchell(tensor: TensorInfo) -> float:
    fan_in = model_width(tensor) if tensor.role == "attention output" else tensor.contracted.fan_in
    return 1 / (sqrt(fan_in) * by_layer(tensor))


def _root_fan_in(tensor: TensorInfo) -> float:
    return 1 / sqrt(tensor.contracted.fan_in)


def _root_width(tensor: TensorInfo) -> float:
    return 1 / sqrt(model_width(tensor))
