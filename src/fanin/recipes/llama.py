"""Llama: one standard deviation for all as transformers draws it, or residual outputs scaled by their layer."""

from __future__ import annotations

from math import sqrt
from typing import Annotated, Literal

from fanin.recipes.matching import Match, both, contracts, has_role
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


def llama(std: Annotated[float, "of every weight and table"] = 0.02) -> Recipe:
    """N(0, std²) for every weight and table, residual outputs too; biases 0, norms plain.

    >>> from fanin.recipes import named
    >>> named("llama").title
    'one std for all weights, no scaling with depth'
    """
    rules = (
        Rule(TABLES, normal(std), f"std {std:g} for every table"),
        Rule(contracts, normal(std), f"std {std:g} for every weight, whatever its depth"),
        *BESIDE_WEIGHTS,
    )
    return Recipe(
        "llama",
        rules,
        "one std for all weights, no scaling with depth",
        "transformers PreTrainedModel._init_weights, initializer_range (Llama, Mistral, Qwen, Gemma, OLMo2)",
    )


def llama_depth(
    std: Annotated[float, "of every weight in the stack, before the division"] = 0.02,
    cutoff: Annotated[float, "weights are cut at this many sigmas"] = 3.0,
    divide: Annotated[Literal["layer", "depth"], "by √(2(layer + 1)), or by √(2·layers) for all"] = "layer",
    up: Annotated[bool, "divide the MLP's up projection too, as torchtitan and OLMo-core do"] = False,
) -> Recipe:
    """Residual outputs N(0, std²/(2(layer + 1))), layers counted from 0; other weights N(0, std²); head 1/√width.

    Residual outputs are the attention output and the MLP's down projection. torchtitan and OLMo-core also divide the
    MLP's up projection (their w3), which writes nothing into the stream, and OLMo-core the router of experts with its
    gate and up projection: `up` does the former, nothing here the latter. torchtitan cuts at ±2 absolute, which at std
    0.02 cuts nothing; here and in OLMo-core at 3 sigmas. A table that is also the head takes the head's std.

    >>> from fanin.recipes import named
    >>> len(named("llama-depth,up=true").rules) - len(named("llama-depth").rules)
    1
    """
    scale, why = (by_layer, why_by_layer) if divide == "layer" else (by_depth, why_by_depth)
    scaled = truncated(lambda tensor: std / scale(tensor), cutoff)
    in_branches: Match = both(has_role("mlp up"), lambda tensor: tensor.place.branches > 0)
    too = "no residual output, but divided like one in torchtitan and OLMo-core"
    rules = (
        Rule(residual_output, scaled, why),
        *((Rule(in_branches, scaled, too),) if up else ()),
        Rule(has_role("head"), truncated(_head, cutoff), "1/√width: logits of unit variance"),
        Rule(both(TABLES, lambda tensor: tensor.tied_head), truncated(_head, cutoff), "also the head: 1/√width"),
        Rule(TABLES, normal(1.0), "unit variance into the stream"),
        Rule(contracts, truncated(std, cutoff), f"std {std:g} for what writes nothing into the stream"),
        *BESIDE_WEIGHTS,
    )
    return Recipe(
        "llama-depth",
        rules,
        "residual outputs divided by √(2(layer + 1)), head 1/√width",
        "torchtitan llama3 and models/common/param_init.py; OLMo-core nn/transformer/init.py, llama and llama_depth",
    )


def _head(tensor: TensorInfo) -> float:
    return 1 / sqrt(model_width(tensor))
