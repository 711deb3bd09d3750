"""Parts of a tensor: a rectangle, or a comb of equal rectangles at equal distances."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from operator import le

import numpy as np
from numpy.typing import NDArray

from fanin.errors import ArgumentError

Places = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Part:
    """A hyper-rectangle of a stored tensor, or a comb of equal ones as interleaved heads leave it.

    The four words are those of an HDF5 hyperslab (`size` is its block).

    Attributes:
        start: first element along each dimension.
        size: elements of one rectangle along each dimension.
        stride: distance from one rectangle to the next along each dimension; empty for a single rectangle.
        count: how many rectangles there are along each dimension; empty for a single one.

    Raises:
        ArgumentError: negative or fractional numbers, ranks that differ, or rectangles that overlap.

    >>> Part((0, 0), (64, 512), stride=(192, 512), count=(8, 1)).joined      # queries of 8 heads stored q, k, v, q, …
    (512, 512)
    """

    start: tuple[int, ...]
    size: tuple[int, ...]
    stride: tuple[int, ...] = ()
    count: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name in ("start", "size", "stride", "count"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if any(
            type(extent) is not int or extent < 0 for extent in (*self.start, *self.size, *self.stride, *self.count)
        ):
            raise ArgumentError(f"a part's start {self.start} and size {self.size} must be counts of elements")
        if len(self.start) != len(self.size) or len(self.stride) != len(self.count):
            raise ArgumentError(f"a part's start {self.start} and size {self.size} differ in rank")
        if self.count and (len(self.count) != len(self.start) or 0 in self.count):
            raise ArgumentError(f"a part's start {self.start} and count {self.count} do not fit together")
        combs = zip(self.size, self.stride, self.count, strict=False)
        if any(times > 1 and step < max(extent, 1) for extent, step, times in combs):
            raise ArgumentError(f"rectangles of size {self.size} at distances {self.stride} overlap")

    @property
    def joined(self) -> tuple[int, ...]:
        """The shape of its rectangles side by side."""
        return tuple(n * m for n, m in zip(self.size, self.count, strict=True)) if self.count else self.size

    @property
    def end(self) -> tuple[int, ...]:
        """The first place beyond it along each dimension."""
        return tuple(
            first + extent + (self.stride[axis] * (self.count[axis] - 1) if self.count else 0)
            for axis, (first, extent) in enumerate(zip(self.start, self.size, strict=True))
        )

    def places(self, axis: int) -> Places:
        """Its indices along one dimension, ascending.

        >>> Part((1,), (2,), (4,), (3,)).places(0).tolist()
        [1, 2, 5, 6, 9, 10]
        """
        run = self.start[axis] + np.arange(self.size[axis])
        if not self.count:
            return run
        return (np.arange(self.count[axis])[:, None] * self.stride[axis] + run).ravel()

    def rectangles(self) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
        """Start and size of each rectangle.

        >>> list(Part((1,), (2,), (4,), (2,)).rectangles())
        [((1,), (2,)), ((5,), (2,))]
        """
        for which in product(*(range(times) for times in self.count or (1,) * len(self.start))):
            steps = self.stride or (0,) * len(self.start)
            yield tuple(a + i * s for a, i, s in zip(self.start, which, steps, strict=True)), self.size


def joined(parts: Sequence[Part]) -> tuple[int, ...]:
    """The shape of several parts side by side along the dimension in which they follow one another.

    >>> joined([Part((0, 0), (3, 4)), Part((5, 0), (2, 4))])
    (5, 4)
    """
    shapes = [part.joined for part in parts]
    return tuple(
        sum(sizes) if len({part.start[axis] for part in parts}) > 1 else sizes[0]
        for axis, sizes in enumerate(zip(*shapes, strict=True))
    )


def visible(parts: Sequence[Part], shape: tuple[int, ...]) -> tuple[list[int], int]:
    """How many elements each part has where a later part wins over an earlier one, and how many belong to none.

    Parts of another rank and parts that leave the tensor have none.

    >>> visible([Part((0, 0), (2, 5)), Part((1, 0), (2, 3))], (3, 5))
    ([7, 6], 2)
    """
    fitting = [len(part.start) == len(shape) and all(map(le, part.end, shape)) for part in parts]
    # Between the edges of all parts along a dimension nothing changes: one cell stands for all.
    edges = [
        np.unique(
            np.concatenate(
                [[0, size], *(_edges(part, axis) for part, fits in zip(parts, fitting, strict=True) if fits)]
            )
        )
        for axis, size in enumerate(shape)
    ]
    owner = np.zeros([len(edge) - 1 for edge in edges], np.intp)
    for number, (part, fits) in enumerate(zip(parts, fitting, strict=True)):
        if fits:
            owner[np.ix_(*(_within(part, axis, edge[:-1]) for axis, edge in enumerate(edges)))] = number + 1
    weights = np.ones((), np.float64)
    for edge in edges:
        weights = weights[..., None] * np.diff(edge)
    none, *counts = np.bincount(owner.ravel(), weights.ravel(), len(parts) + 1).astype(np.int64).tolist()
    return counts, none


def _edges(part: Part, axis: int) -> Places:
    times, step = (part.count[axis], part.stride[axis]) if part.count else (1, 0)
    starts = part.start[axis] + np.arange(times) * step
    return np.concatenate([starts, starts + part.size[axis]])


def _within(part: Part, axis: int, places: Places) -> NDArray[np.bool_]:
    beyond = places - part.start[axis]
    step = part.stride[axis] if part.count and part.count[axis] > 1 else max(part.end[axis], 1)
    return (beyond >= 0) & (places < part.end[axis]) & (beyond % step < part.size[axis])
