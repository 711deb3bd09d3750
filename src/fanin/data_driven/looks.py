"""Which part of a stored tensor a view of it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Look:
    """A rectangle of a stored tensor.

    Attributes:
        start, size: of the rectangle, along each stored dimension.
        axis: the stored dimension that the view's dimension of interest runs along, element by element; None where it
            does not run along one.
    """

    start: tuple[int, ...]
    size: tuple[int, ...]
    axis: int | None

    def overlaps(self, other: Look) -> bool:
        """Whether the two have an element in common."""
        return all(
            a < b + m and b < a + n for a, n, b, m in zip(self.start, self.size, other.start, other.size, strict=True)
        )


def look(view: Tensor, stored: Tensor, free: int | None) -> Look | None:
    """The rectangle of `stored` that `view` is; None where it is none.

    Args:
        view: shares the memory of `stored`.
        stored: the tensor as the model holds it.
        free: the dimension of the view that is of interest.

    >>> import torch
    >>> table = torch.zeros(6, 4)
    >>> look(table[2:5].T, table, 1)
    Look(start=(2, 0), size=(3, 4), axis=0)
    """
    begin = int(view.storage_offset()) - int(stored.storage_offset())
    strides, shape = stored.stride(), tuple(stored.shape)
    if any(step == 0 and size > 1 for step, size in zip(view.stride(), view.shape, strict=True)):
        return None
    axis = None if free is None else _axis(view.stride(free), int(view.shape[free]), strides, shape)
    if begin == 0 and view.numel() == stored.numel():
        whole = axis if axis is not None and free is not None and view.shape[free] == shape[axis] else None
        return Look((0,) * len(shape), shape, whole)
    start = _index(begin, strides, shape)
    if start is None:
        return None
    size = [1] * len(shape)
    for extent, step in zip(view.shape, view.stride(), strict=True):
        along = _axis(step, int(extent), strides, shape)
        if extent > 1 and (along is None or size[along] > 1 or start[along] + extent > shape[along]):
            return None
        if extent > 1 and along is not None:
            size[along] = int(extent)
    return Look(start, tuple(size), axis)


def _axis(step: int, extent: int, strides: Sequence[int], shape: Sequence[int]) -> int | None:
    fitting = [a for a, (s, n) in enumerate(zip(strides, shape, strict=True)) if s == step and n >= extent > 1]
    return fitting[0] if len(fitting) == 1 else None


def _index(offset: int, strides: Sequence[int], shape: Sequence[int]) -> tuple[int, ...] | None:
    """The place of the element that lies `offset` elements behind the first."""
    found = [0] * len(shape)
    for axis in sorted((a for a, n in enumerate(shape) if n > 1), key=lambda a: -strides[a]):
        found[axis], offset = divmod(offset, strides[axis])
    return None if offset or any(not 0 <= at < n for at, n in zip(found, shape, strict=True)) else tuple(found)
