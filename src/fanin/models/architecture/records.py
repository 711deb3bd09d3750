"""What a description consists of: inputs and layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

DTYPES = ("float32", "float64", "float16", "bfloat16", "int64", "int32", "bool")


@dataclass(frozen=True, slots=True)
class Input:
    """One argument of a model's forward pass.

    Attributes:
        shape: of one sample, without the batch.
        dtype: as torch names it: "float32" for signals, "int64" for tokens.

    >>> Input((1, 28, 28))
    Input(shape=(1, 28, 28), dtype='float32')
    """

    shape: tuple[int, ...]
    dtype: str = "float32"


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of an architecture.

    Attributes:
        name: path of its module, as in the names of the state dict: "blocks.0.conv1".
        type: one of `layer_types()`.
        options: what the type takes; those left out have their defaults, sizes of inputs follow from shapes.
        inputs: names of layers or inputs, in the order of the type's arguments; None for the layer before this one.
        ties: parameters of this layer that are another layer's: {"weight": "embedding.weight"}.

    >>> Layer("fc1", "linear", {"out": 10}).options["out"]
    10
    """

    name: str
    type: str
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    inputs: tuple[str, ...] | None = None
    ties: Mapping[str, str] = field(default_factory=dict[str, str])
