"""What recipes of language models share: residual outputs, the width of the model, lookup tables, silent biases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import sqrt

from fanin.initializers import Constant, Initializer, Normal, TruncatedNormal
from fanin.recipes.common import NORMS, padded
from fanin.recipes.matching import has_role, is_last
from fanin.recipes.rule import Rule
from fanin.recipes.tensor_info import TensorInfo

Number = Callable[[TensorInfo], float]
Words = Callable[[TensorInfo], str]

TABLES = has_role("embedding", "position", "token")
SILENT = Rule(has_role("bias"), lambda _: Constant(0.0), "a bias starts at 0")
BESIDE_WEIGHTS = (SILENT, *NORMS)
"""Biases 0, norms plain."""


def residual_output(tensor: TensorInfo) -> bool:
    """The last weight of a residual branch of a stack: attention output, MLP down, a mixer's output."""
    return is_last(tensor) and tensor.place.branches > 0


def by_depth(tensor: TensorInfo) -> float:
    """√N for the N residual branches of the stack, 2 per layer in a plain transformer."""
    return sqrt(tensor.place.branches)


def by_layer(tensor: TensorInfo) -> float:
    """√(2(layer + 1)), layers counted from 0, for two branches per layer; √(branches so far) in general."""
    place = tensor.place
    return sqrt(place.branches / max(place.layers, 1) * ((place.layer or 0) + 1))


def why_by_depth(tensor: TensorInfo) -> str:
    """The reason for `by_depth`."""
    return f"one of {tensor.place.branches} outputs that the stream adds up: divided by √{tensor.place.branches}"


def why_by_layer(tensor: TensorInfo) -> str:
    """The reason for `by_layer`."""
    return f"{by_layer(tensor) ** 2:g} outputs are added up by layer {tensor.place.layer}: divided by their root"


def model_width(tensor: TensorInfo) -> float:
    """Width of the residual stream; where the tensor is in no branch, the width it reads or writes as a table."""
    if tensor.place.width:
        return float(tensor.place.width)
    return float(tensor.shape[-1]) if tensor.axes is None else tensor.axes.fan_in


def normal(std: float | Number) -> Callable[[TensorInfo], Initializer]:
    """N(0, std²); the row of a padding token 0."""
    return lambda tensor: padded(Normal(std=_of(std, tensor)), tensor)


def truncated(std: float | Number, sigmas: float) -> Callable[[TensorInfo], Initializer]:
    """N(0, std²) cut at ±`sigmas` of its own standard deviations; the row of a padding token 0."""
    law = TruncatedNormal(lower=-sigmas, upper=sigmas, corrected=False)
    return lambda tensor: padded(replace(law, std=_of(std, tensor)), tensor)


def _of(std: float | Number, tensor: TensorInfo) -> float:
    return std(tensor) if callable(std) else std
