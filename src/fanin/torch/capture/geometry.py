"""Where a view lies in memory, and which part of a stored tensor that is."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch


@dataclass(frozen=True, slots=True)
class Geometry:
    """Shape, strides and offset (in elements) of a strided tensor, and its dtype."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int
    dtype: torch.dtype

    @classmethod
    def of(cls, tensor: torch.Tensor) -> Geometry:
        """The geometry of a tensor."""
        return cls(tuple(tensor.shape), tensor.stride(), int(tensor.storage_offset()), tensor.dtype)

    @property
    def numel(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @property
    def span(self) -> tuple[int, int]:
        """First element and one past the last, in elements of the storage."""
        if not self.numel:
            return self.offset, self.offset
        last = sum((size - 1) * step for size, step in zip(self.shape, self.stride, strict=True))
        return self.offset, self.offset + last + 1

    @property
    def repeats(self) -> bool:
        """Whether some element stands at several indices (an expanded tensor)."""
        return any(size > 1 and step == 0 for size, step in zip(self.shape, self.stride, strict=True))

    @property
    def dense(self) -> bool:
        """Whether each element from the first to the last is this view's, once."""
        first, end = self.span
        steps = sorted((step, size) for size, step in zip(self.shape, self.stride, strict=True) if size > 1)
        reach = 1
        for step, size in steps:
            if step != reach:
                return False
            reach *= size
        return end - first == self.numel


@dataclass(frozen=True, slots=True)
class Part:
    """A hyper-rectangle of a tensor, and which of its dimensions each dimension of a view runs over."""

    start: tuple[int, ...]
    size: tuple[int, ...]
    axes: tuple[tuple[int, ...], ...]


def part_of(view: Geometry, whole: Geometry) -> Part | None:
    """The part of the tensor `whole` that `view` of the same memory covers; None where it is no hyper-rectangle.

    >>> whole = Geometry((4, 6), (6, 1), 0, torch.float32)
    >>> part_of(Geometry((6,), (1,), 12, torch.float32), whole)
    Part(start=(2, 0), size=(1, 6), axes=((1,),))
    """
    start = _position(view.offset, whole)
    if start is None or view.dtype != whole.dtype:
        return None
    size = [1] * len(start)
    axes: list[tuple[int, ...]] = []
    for extent, step in zip(view.shape, view.stride, strict=True):
        taken = _run(extent, step, whole, start, size)
        if taken is None:
            return None
        axes.append(taken)
    return Part(start, tuple(size), tuple(axes))


def _position(offset: int, whole: Geometry) -> tuple[int, ...] | None:
    left = offset - whole.offset
    start = [0] * len(whole.shape)
    for axis in sorted(range(len(start)), key=lambda axis: whole.stride[axis], reverse=True):
        if whole.shape[axis] > 1 and whole.stride[axis] > 0:
            start[axis], left = divmod(left, whole.stride[axis])
    inside = all(0 <= first < extent for first, extent in zip(start, whole.shape, strict=True))
    return tuple(start) if left == 0 and inside else None


def _run(extent: int, step: int, whole: Geometry, start: tuple[int, ...], size: list[int]) -> tuple[int, ...] | None:
    """Spread one dimension of the view over dimensions of the tensor, innermost first; fills `size`."""
    taken: list[int] = []
    while extent > 1:
        axis = next((a for a, s in enumerate(whole.stride) if s == step and size[a] == 1 < whole.shape[a]), None)
        if axis is None:
            return None
        full = whole.shape[axis]
        if start[axis] + extent <= full:
            size[axis], extent = extent, 1
        elif start[axis] == 0 and extent % full == 0:
            size[axis], extent, step = full, extent // full, step * full
        else:
            return None
        taken.insert(0, axis)
    return tuple(taken)
