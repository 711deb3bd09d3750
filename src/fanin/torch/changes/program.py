"""Running the changes of a `Copy` step; on the meta device they give the shape and dtype without any values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch

from fanin.errors import FaninError, PlanError
from fanin.initializers import Initializer
from fanin.names import Changes
from fanin.torch.changes.channels import adapt_channels, inflate
from fanin.torch.changes.layout import (
    concat,
    halves_to_pairs,
    pairs_to_halves,
    permute,
    reshape,
    select,
    slice_of,
    squeeze,
    stack,
    take,
    transpose,
    unsqueeze,
)
from fanin.torch.changes.lengths import pad, pad_drawn, tile
from fanin.torch.changes.numbers import add, cast, scale, scale_along
from fanin.torch.changes.patches import resample_patches
from fanin.torch.changes.positions import resample_biases, resample_positions

OPERATIONS: Mapping[str, Callable[..., torch.Tensor]] = {
    "transpose": transpose,
    "permute": permute,
    "reshape": reshape,
    "unsqueeze": unsqueeze,
    "squeeze": squeeze,
    "slice": slice_of,
    "select": select,
    "take": take,
    "concat": concat,
    "stack": stack,
    "pairs_to_halves": pairs_to_halves,
    "halves_to_pairs": halves_to_pairs,
    "add": add,
    "scale": scale,
    "scale_along": scale_along,
    "cast": cast,
    "pad": pad,
    "pad_drawn": pad_drawn,
    "tile": tile,
    "adapt_channels": adapt_channels,
    "inflate": inflate,
    "resample_positions": resample_positions,
    "resample_biases": resample_biases,
    "resample_patches": resample_patches,
}
"""The functions of all ops: the tensor, and then the change's arguments."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """Where changes get tensors.

    Attributes:
        read: the stored tensor of a key; nothing is ever written to it.
        draw: a tensor of a shape under a law.
    """

    read: Callable[[str], torch.Tensor]
    draw: Callable[[Initializer, tuple[int, ...]], torch.Tensor]


def changed(key: str, changes: Changes, inputs: Inputs, limit: int) -> torch.Tensor:
    """The stored tensor `key` after its changes; without changes the stored tensor itself.

    Args:
        key: its name in the file.
        changes: in order; `fanin.plans.changes` lists them.
        inputs: where tensors come from; give meta tensors to get a meta tensor.
        limit: elements that a result may have, or as many as four times those of the largest tensor read.

    Raises:
        PlanError: a change cannot be made on a tensor of such a shape or dtype, or makes more than `limit` elements.

    >>> stored = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(1, 3)}
    >>> inputs = Inputs(stored.__getitem__, lambda law, shape: torch.empty(shape))
    >>> changed("a", (("concat", 0, ("b", ())), ("slice", 0, 1, 3)), inputs, limit=100).tolist()
    [[3.0, 4.0, 5.0], [1.0, 1.0, 1.0]]
    """
    x = inputs.read(key)
    for op, *arguments in changes:
        most = max(limit, 4 * x.numel())
        if _elements(op, tuple(x.shape), arguments) > most:
            raise PlanError(f"the change {op!r} of {key!r} makes more than the {most:,} elements that are allowed")
        given = _given(op, x, arguments, inputs, most)
        try:
            x = OPERATIONS[op](x, *given)
        except FaninError as error:
            raise PlanError(f"{key!r} cannot be changed by {op!r}: {error}") from error
        except (RuntimeError, IndexError, TypeError, ValueError, NotImplementedError) as error:
            reason = str(error).partition("\n")[0]
            raise PlanError(f"{key!r} of shape {tuple(x.shape)} cannot be changed by {op!r}: {reason}") from error
        if x.numel() > most:
            raise PlanError(f"the change {op!r} of {key!r} makes {x.numel():,} elements; allowed are {most:,}")
    return x


def _given(op: str, x: torch.Tensor, arguments: Sequence[Any], inputs: Inputs, limit: int) -> Sequence[Any]:
    """The arguments with tensors for operands and for what is drawn."""
    match op:
        case "concat" | "stack":
            first, *operands = arguments
            return [first, *(changed(key, inner, inputs, limit) for key, inner in operands)]
        case "pad_drawn":
            law, *shape = arguments
            return [inputs.draw(Initializer.from_dict(dict(law)), tuple(shape))]
        case _:
            return arguments


def _elements(op: str, shape: tuple[int, ...], arguments: Sequence[Any]) -> int:
    """Elements that an op which makes tensors larger would make, before it takes memory for them."""
    match op:
        case "pad" | "tile":
            return int(arguments[1]) * _others(shape, arguments[0])
        case "take":
            return len(arguments[1:]) * _others(shape, arguments[0])
        case "pad_drawn":
            return prod(arguments[1:])
        case "adapt_channels":
            return int(arguments[0]) * _others(shape, 1)
        case "inflate":
            return int(arguments[0]) * prod(shape)
        case "resample_positions":
            return prod(arguments[2 + len(arguments[2:]) // 2 :]) * _others(shape, arguments[0])
        case "resample_biases":
            return prod(arguments[3:]) * _others(shape, 0)
        case "resample_patches":
            return prod(arguments) * max(prod(shape[:2]), prod(shape[2:]))  # the matrix that resizes, too
        case _:
            return 0


def _others(shape: tuple[int, ...], d: int) -> int:
    """Elements at one index of dimension d."""
    return prod((*shape[:d], *shape[d + 1 :]))
