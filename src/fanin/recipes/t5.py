"""T5: variance 1/fan-in, queries also without attention's 1/√(head size)."""

from __future__ import annotations

from math import sqrt

from fanin.errors import ArgumentError
from fanin.recipes.matching import contracts, has_role
from fanin.recipes.recipe import Recipe
from fanin.recipes.rule import Rule
from fanin.recipes.tensor_info import TensorInfo
from fanin.recipes.transformer_rules import BESIDE_WEIGHTS, model_width, normal


def _head_size(tensor: TensorInfo) -> float:
    if not tensor.heads:
        raise ArgumentError(f"nothing shows into how many heads {tensor.name!r} is split")
    return tensor.contracted.fan_out / tensor.heads


def _query(tensor: TensorInfo) -> float:
    return 1 / sqrt(tensor.contracted.fan_in * _head_size(tensor))


def _root_fan_in(tensor: TensorInfo) -> float:
    return 1 / sqrt(tensor.contracted.fan_in)


def _relative(tensor: TensorInfo) -> float:
    return 1 / sqrt(model_width(tensor))


T5 = Recipe(
    "t5",
    (
        Rule(
            has_role("attention query"),
            normal(_query),
            lambda tensor: f"1/√(fan-in · head size {_head_size(tensor):g}): attention does not divide by its root",
        ),
        Rule(has_role("relative position"), normal(_relative), "1/√width"),
        Rule(has_role("embedding"), normal(1.0), "unit variance; a tied head divides the stream by √width"),
        Rule(
            has_role("head"),
            normal(_root_fan_in),
            "1/√width as in Mesh TensorFlow; transformers draws an untied head with std 1: logits of std √width",
        ),
        Rule(contracts, normal(_root_fan_in), "1/√fan-in"),
        *BESIDE_WEIGHTS,
    ),
    "1/√fan-in, queries also divided by √(head size), tables 1",
    "Raffel et al. 2020, arXiv 1910.10683; Mesh TensorFlow transformer/attention.py; transformers modeling_t5.py",
)
