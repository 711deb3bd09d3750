"""DTensors: which parts of the whole tensor lie in this process's memory."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any, TypeGuard

import torch

from fanin.errors import PlanError
from fanin.random.stream import Region
from fanin.torch.sharded.spans import Spans, Split, extent, rectangles, split
from fanin.torch.wrappers import is_wrapper

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor

Axis = tuple[tuple[int, int, int], ...]
"""How one tensor dimension is split: for each mesh dimension that does, in order, its size, this process's place in it
and the number of chunks that its shards are interleaved with (1 for plain `Shard`)."""


def is_dtensor(tensor: torch.Tensor) -> TypeGuard[DTensor]:
    """Whether it is a DTensor; loads nothing of torch.distributed that is not loaded."""
    if type(tensor) is torch.Tensor or type(tensor) is torch.nn.Parameter:
        return False
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)


def local_of(tensor: DTensor) -> torch.Tensor:
    """The memory of this process's part, outside autograd."""
    return tensor._local_tensor  # pyright: ignore[reportPrivateUsage]


def like(tensor: DTensor, local: torch.Tensor) -> DTensor:
    """A DTensor of the same mesh, placements and global shape over other memory of this process."""
    from torch.distributed.tensor import DTensor

    return DTensor(local, tensor._spec, requires_grad=False)  # pyright: ignore


def take_over(tensor: DTensor, other: DTensor) -> None:
    """Give `tensor` the memory of `other`, a DTensor like it."""
    tensor._local_tensor, tensor._spec = other._local_tensor, other._spec  # pyright: ignore[reportPrivateUsage]


def held(tensor: DTensor) -> Iterator[tuple[Region, torch.Tensor]]:
    """The rectangles of the whole tensor that this process holds, each with a view of its memory; none is empty.

    Raises:
        PlanError: the memory has not the shape that the placements say, or the placements hold no values.
    """
    reason = refusal(tensor)
    if reason is not None:
        raise PlanError(f"a tensor of shape {tuple(tensor.shape)} {reason}")
    axes = _axes(tensor)
    if axes is None:
        return
    shape, local = tuple(tensor.shape), local_of(tensor)
    for spans, starts in rectangles(_dimensions(shape, axes, tuple(local.shape)) or ()):
        region = Region(shape, tuple(span.first for span in spans), tuple(span.length for span in spans))
        view = local
        for axis, (start, count) in enumerate(zip(starts, region.size, strict=True)):
            if count != local.shape[axis]:
                view = view.narrow(axis, start, count)
        yield region, view


def local_shape(tensor: DTensor, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of this process's part, were the tensor of another shape and cut as `distribute_tensor` cuts."""
    axes = _axes(tensor)
    if axes is None:
        return tuple(local_of(tensor).shape)
    return tuple(extent(next(_readings(length, axis))) for length, axis in zip(shape, axes, strict=True))


def refusal(tensor: DTensor) -> str | None:
    """Why no values can be written into this DTensor, or None if they can."""
    from torch.distributed.tensor import Replicate, Shard

    odd = [each for each in tensor.placements if type(each) not in (Replicate, Shard) and not _is_strided(each)]
    if odd:
        why = "holds summands, not values" if odd[0].is_partial() else "is none that fanin knows"
        return (
            f"is a DTensor with placements {_told(tensor)}, of which {odd[0]} {why}: redistribute it to Shard or "
            "Replicate first"
        )
    axes = _axes(tensor)
    if axes is None:
        return None
    local = local_of(tensor)
    if is_wrapper(local) or local.layout is not torch.strided or local.is_quantized:
        kind = type(local).__name__ if is_wrapper(local) else "tensor that is not dense"
        return f"is a DTensor over a {kind}: only plain dense memory can be written; convert it afterwards"
    if any(_is_ambiguous(n, axis) for n, axis in zip(tensor.shape, axes, strict=True)):
        return (
            f"is a DTensor of shape {tuple(tensor.shape)} with placements {_told(tensor)}, whose uneven interleaved "
            "shards can be read in two ways: materialize the model before it is sharded"
        )
    if _dimensions(tuple(tensor.shape), axes, tuple(local.shape)) is None:
        return (
            f"is a DTensor of shape {tuple(tensor.shape)} with placements {_told(tensor)} on a mesh of shape "
            f"{tuple(tensor.device_mesh.shape)}, but holds {tuple(local.shape)} here: shards of other sizes than "
            "torch.chunk makes cannot be placed"
        )
    return None


def _axes(tensor: DTensor) -> tuple[Axis, ...] | None:
    """How each tensor dimension is split; None in a process outside the mesh, which holds nothing."""
    mesh = tensor.device_mesh
    place = mesh.get_coordinate()
    if place is None:
        return None
    axes: list[list[tuple[int, int, int]]] = [[] for _ in tensor.shape]
    for number, placement in enumerate(tensor.placements):
        if not placement.is_replicate():
            each: Any = placement
            chunks = int(each.split_factor) if _is_strided(placement) else 1
            axes[each.dim % len(axes)].append((mesh.size(number), place[number], chunks))
    return tuple(tuple(axis) for axis in axes)


def _dimensions(shape: tuple[int, ...], axes: Sequence[Axis], local: tuple[int, ...]) -> tuple[Spans, ...] | None:
    """The indices held of each dimension, if they are as many as lie in memory; empty where nothing is held."""
    if 0 in local and any(extent(spans) == 0 for each in zip(shape, axes, strict=True) for spans in _readings(*each)):
        return ((),) * len(shape)  # FSDP2 gives an empty shard zero sizes that no placement cuts
    chosen: list[Spans] = []
    for length, axis, seen in zip(shape, axes, local, strict=True):
        fitting = next((spans for spans in _readings(length, axis) if extent(spans) == seen), None)
        if fitting is None:
            return None
        chosen.append(fitting)
    return tuple(chosen)


def _readings(length: int, axis: Axis) -> Iterator[Spans]:
    """What a process may hold of a dimension: as `distribute_tensor` cuts it, or as FSDP2 after tensor parallelism.

    `distribute_tensor` cuts from the left, where an interleaved shard leaves room for the cuts on its right. FSDP2
    writes the same placements, but really cuts from the right. The two agree where all chunks are of one size; where
    they are not, the size of the memory tells which it was.
    """
    yield split(length, [Split(parts, index, chunks) for parts, index, chunks in axis])
    if any(chunks > 1 for _, _, chunks in axis):
        yield split(length, [Split(parts, index) for parts, index, _ in _as_cut(axis)])


def _as_cut(axis: Axis) -> Axis:
    """The splits in the order in which they were made: an interleaved one after as many chunks as it names."""
    order: list[tuple[int, int, int]] = []
    for each in reversed(axis):
        before, chunks = 0, 1
        while before < len(order) and chunks < each[2]:
            chunks *= order[before][0]
            before += 1
        order.insert(before, each)
    return tuple(order)


def _is_strided(placement: Any) -> bool:
    from torch.distributed.tensor.placement_types import _StridedShard  # pyright: ignore[reportPrivateUsage]

    return type(placement) is _StridedShard


def _told(tensor: DTensor) -> str:
    return "(" + ", ".join(map(str, tensor.placements)) + ")"


@lru_cache(maxsize=1024)
def _is_ambiguous(length: int, axis: Axis) -> bool:
    """Whether some process of the mesh holds equally many indices under both readings, but others."""
    if all(chunks == 1 for _, _, chunks in axis) or not length % prod(parts for parts, _, _ in axis):
        return False
    for places in product(*(range(parts) for parts, _, _ in axis)):
        moved = tuple((parts, place, chunks) for (parts, _, chunks), place in zip(axis, places, strict=True))
        first, second = _readings(length, moved)
        if first != second and extent(first) == extent(second):
            return True
    return False
