"""What of a logical tensor this process holds: all of it, or the rectangles of a sharded one."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from fanin.errors import PlanError
from fanin.random.stream import Region
from fanin.torch.sharded import dtensor, zero3
from fanin.torch.sharded.flat import is_flat
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
    """What this process holds of `tensor`: disjoint rectangles, each with a view of its memory.

    Of a plain tensor that is all of it; of a DTensor its shard, which may be several rectangles; of a parameter that
    DeepSpeed's ZeRO-3 has partitioned, its run of the flattened tensor. A process that holds nothing has no pieces.
    No memory is allocated, and processes need not talk to each other.

    Raises:
        PlanError: no values can be written into a tensor like this; `refusal` says why.

    >>> [piece.region.size for piece in pieces_of(torch.empty(3, 2))]
    [(3, 2)]
    """
    if dtensor.is_dtensor(tensor):
        return tuple(Piece(region, memory) for region, memory in dtensor.held(tensor))
    if zero3.is_placeholder(tensor):
        return tuple(Piece(region, memory) for region, memory in zero3.held(tensor))
    reason = refusal(tensor)
    if reason is not None:
        raise PlanError(f"a tensor of shape {tuple(tensor.shape)} {reason}")
    return (Piece(Region.whole(tuple(tensor.shape)), tensor),)


def is_part(tensor: torch.Tensor) -> bool:
    """Whether other processes hold the rest of this tensor, or copies of it: a DTensor, or under DeepSpeed's ZeRO-3.

    >>> is_part(torch.empty(3, 2))
    False
    """
    return type(tensor) is not torch.Tensor and (dtensor.is_dtensor(tensor) or zero3.is_placeholder(tensor))


def shape_of(tensor: torch.Tensor) -> tuple[int, ...]:
    """The shape of the whole tensor, of which this process may hold a part.

    >>> shape_of(torch.empty(3, 2))
    (3, 2)
    """
    return zero3.shape_of(tensor) if zero3.is_placeholder(tensor) else tuple(tensor.shape)


def refusal(tensor: torch.Tensor) -> str | None:
    """Why no values can be written into a tensor like this, or None if they can."""
    if dtensor.is_dtensor(tensor):
        return dtensor.refusal(tensor)
    if zero3.is_placeholder(tensor):
        return zero3.refusal(tensor)
    if is_flat(tensor):
        return (
            "is a FlatParameter, into which FSDP1 has packed several tensors: pass "
            "param_init_fn=fanin.module_init(model, plan, seed) to FSDP, or materialize the model before it is wrapped"
        )
    if is_wrapper(tensor):
        return (
            f"is a {type(tensor).__name__}, whose memory is not its own: materialize the plain model first, then shard "
            "or quantise it"
        )
    if tensor.layout is not torch.strided or tensor.is_quantized:
        kind = "quantised" if tensor.is_quantized else str(tensor.layout).removeprefix("torch.")
        return f"is {kind}: only dense tensors can be written; convert it afterwards"
    return None
