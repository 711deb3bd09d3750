"""What a DCP checkpoint is written in: tensors, the large ones in runs of rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch.distributed.checkpoint.metadata import ChunkStorageMetadata, MetadataIndex, TensorProperties
from torch.distributed.checkpoint.planner import TensorWriteData, WriteItem, WriteItemType

from fanin.checkpoints.layout import tensor_of
from fanin.plans import Plan
from fanin.plans.steps import Copy, Draw, Step
from fanin.random import Region
from fanin.weights.tensors import DTYPES

_LARGEST = 128 << 20  # bytes of an item that can be drawn by itself


@dataclass(frozen=True, slots=True)
class Item:
    """A run of whole rows of a tensor, or all of it.

    Attributes:
        name: the tensor's.
        dtype: in which it is stored, as torch names it.
        region: the rows.
    """

    name: str
    dtype: str
    region: Region

    @property
    def key(self) -> tuple[str, tuple[int, ...]]:
        """The name, and where the run begins."""
        return self.name, self.region.start

    @property
    def first(self) -> int:
        """The flat index of its first element in the tensor."""
        shape = self.region.shape
        return self.region.start[0] * prod(shape[1:]) if shape else 0

    @property
    def nbytes(self) -> int:
        """Bytes of its values."""
        return self.region.numel * DTYPES[self.dtype].itemsize

    def to_write(self) -> WriteItem:
        """As torch's planner names it."""
        start, size = torch.Size(self.region.start), torch.Size(self.region.size)
        chunk = ChunkStorageMetadata(start, size)
        properties = TensorProperties(dtype=getattr(torch, self.dtype))
        data = TensorWriteData(chunk, properties, torch.Size(self.region.shape))
        return WriteItem(MetadataIndex(self.name, start), WriteItemType.SHARD, tensor_data=data)


def items_of(plan: Plan, dtype: str | None) -> tuple[Item, ...]:
    """All tensors that a state dict holds, in the plan's order; floating ones in `dtype` unless it is None.

    Raises:
        PlanError: a tensor of a dtype that files do not hold.
    """
    return tuple(
        item for step in plan.steps if step.persistent for item in _of_step(step, tensor_of(step, dtype).dtype)
    )


def _of_step(step: Step, dtype: str) -> Iterator[Item]:
    row = prod(step.shape[1:]) * DTYPES[dtype].itemsize
    if not step.shape or not _in_parts(step) or step.shape[0] * row <= _LARGEST:
        yield Item(step.name, dtype, Region.whole(step.shape))
        return
    count = max(1, _LARGEST // row)
    rest = step.shape[1:]
    for begin in range(0, step.shape[0], count):
        size = min(count, step.shape[0] - begin)
        yield Item(step.name, dtype, Region(step.shape, (begin, *(0 for _ in rest)), (size, *rest)))


def _in_parts(step: Step) -> bool:
    """Whether any rows can be had without computing the others."""
    return isinstance(step.action, Copy) or (isinstance(step.action, Draw) and step.action.initializer.elementwise)


def shares_of(items: Sequence[Item], count: int) -> tuple[tuple[Item, ...], ...]:
    """The items of each of `count` writers, of about equal bytes."""
    shares: list[list[Item]] = [[] for _ in range(count)]
    loads = [0] * count
    for item in sorted(items, key=lambda item: -item.nbytes):
        least = loads.index(min(loads))
        shares[least].append(item)
        loads[least] += item.nbytes
    return tuple(map(tuple, shares))
