"""What of a logical tensor this process holds: all of it, or the rectangles of a sharded one."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from fanin.random.stream import Region
from fanin.torch.wrappers import is_wrapper


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """A part of a logical tensor and the memory of its values.

    Attributes:
        region: which part, in indices of the whole (unsharded) tensor.
        memory: a plain tensor of shape `region.size`, of any strides, on any device.
    """

    region: Region
    memory: torch.Tensor


def pieces_of(tensor: torch.Tensor) -> tuple[Piece, ...]:
    """What this process holds of `tensor`; they are disjoint, and none is empty of dimensions.

    >>> [piece.region.size for piece in pieces_of(torch.empty(3, 2))]
    [(3, 2)]
    """
    return (Piece(Region.whole(tuple(tensor.shape)), tensor),)


def refusal(tensor: torch.Tensor) -> str | None:
    """Why no values can be written into a tensor like this, or None if they can."""
    if is_wrapper(tensor):
        return (
            f"is a {type(tensor).__name__}, whose memory is not its own: materialize the plain model first, then shard "
            "or quantise it"
        )
    if tensor.layout is not torch.strided or tensor.is_quantized:
        kind = "quantised" if tensor.is_quantized else str(tensor.layout).removeprefix("torch.")
        return f"is {kind}: only dense tensors can be written; convert it afterwards"
    return None
