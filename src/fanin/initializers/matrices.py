"""A stored tensor seen as a stack of matrices, one per batch entry and group."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fanin.errors import ArgumentError
from fanin.random.stream import Region

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Matrices:
    """Which dimensions of a tensor of `shape` index matrix rows, which index copies; all others are columns.

    The dimension `grouped` is split into `groups` equal runs, and each run belongs to a matrix of its own.

    Raises:
        ArgumentError: the dimensions do not fit the shape, or the groups do not divide theirs.

    >>> Matrices("Orthogonal", (64, 4, 3, 3), rows=(0,), groups=2).stack
    (2, 32, 36)
    """

    law: str
    shape: tuple[int, ...]
    rows: tuple[int, ...]
    batch: tuple[int, ...] = ()
    groups: int = 1
    grouped: int = 0

    def __post_init__(self) -> None:
        rank = len(self.shape)
        if max((*self.rows, *self.batch), default=0) >= rank or not self.rows or not self.columns:
            raise ArgumentError(
                f"{self.law} with rows {self.rows} and batch {self.batch} needs a tensor with these dimensions and at "
                f"least one more for the columns, got shape {self.shape}"
            )
        if self.groups > 1 and (self.grouped in self.batch or self.grouped >= rank):
            raise ArgumentError(
                f"{self.law}: dimension {self.grouped} of shape {self.shape} cannot be split into groups"
            )
        if self.groups > 1 and self.shape[self.grouped] % self.groups:
            raise ArgumentError(
                f"{self.law}: {self.groups} groups do not divide dimension {self.grouped} of shape {self.shape}"
            )

    @property
    def columns(self) -> tuple[int, ...]:
        """Dimensions that index matrix columns."""
        return tuple(axis for axis in range(len(self.shape)) if axis not in {*self.rows, *self.batch})

    @property
    def stack(self) -> tuple[int, int, int]:
        """(number of matrices, rows, columns)."""
        size = list(self.shape)
        if self.groups > 1:
            size[self.grouped] //= self.groups
        count, rows, columns = (prod(size[axis] for axis in axes) for axes in (self.batch, self.rows, self.columns))
        return count * self.groups, rows, columns

    def needs(self, region: Region, *axes: int) -> Region:
        """`region` made as long as its matrices along `axes`; an empty one stays as it is.

        >>> Matrices("Orthogonal", (64, 4), rows=(0,), groups=4).needs(Region((64, 4), (20, 1), (16, 1)), 0)
        Region(shape=(64, 4), start=(16, 1), size=(32, 1))
        """
        if not region.numel:
            return region
        start, size = list(region.start), list(region.size)
        for axis in axes:
            run = self.run if axis == self.grouped and self.groups > 1 else self.shape[axis]
            last = -(-(start[axis] + size[axis]) // run) * run
            start[axis] = start[axis] // run * run
            size[axis] = last - start[axis]
        return Region(region.shape, tuple(start), tuple(size))

    @property
    def run(self) -> int:
        """Elements of one group along the dimension `grouped`."""
        return self.shape[self.grouped] // self.groups

    @property
    def units(self) -> dict[int, int]:
        """The dimensions along which matrices follow one another, and how many elements each has there."""
        return dict.fromkeys(self.batch, 1) | ({self.grouped: self.run} if self.groups > 1 else {})

    def part(self, box: Region) -> Matrices:
        """The layout of an array that holds `box`: whole matrices, or some of one matrix."""
        groups = max(box.size[self.grouped] // self.run, 1) if self.groups > 1 else 1
        return replace(self, shape=box.size, groups=groups)

    def numbers(self, box: Region) -> NDArray[np.intp]:
        """Which matrices of the stack a box touches, in the order of the stack of `part(box)`."""
        spans = [(box.start[axis], box.size[axis], self.shape[axis]) for axis in self.batch]
        spans.append(
            (box.start[self.grouped] // self.run, self.part(box).groups, self.groups) if self.groups > 1 else (0, 1, 1)
        )
        return _flat(spans)

    def places(self, box: Region, axes: tuple[int, ...]) -> NDArray[np.intp]:
        """Rows (`axes` is `rows`) or columns of its matrix that a box within one matrix touches."""
        whole = self.needs(box, *self.rows, *self.columns)
        return _flat([(box.start[axis] - whole.start[axis], box.size[axis], whole.size[axis]) for axis in axes])

    def tensor(self, stack: Array) -> Array:
        """The tensor whose matrices are `stack`, an array of shape `self.stack`; a view where that is possible."""
        order = self._order
        unordered = stack.reshape([self._split[axis] for axis in order])
        return np.transpose(unordered, np.argsort(order)).reshape(self.shape)

    def stacked(self, tensor: Array) -> Array | None:
        """The inverse of `tensor` as a view, or None where only a copy would do."""
        ordered = np.transpose(tensor.reshape(self._split), self._order)
        lead = len(self.batch) + 1
        ranges = ((0, lead), (lead, lead + len(self.rows)), (lead + len(self.rows), ordered.ndim))
        merge = all(_merges(ordered.shape[a:b], ordered.strides[a:b]) for a, b in ranges)
        return ordered.reshape(self.stack) if merge else None

    def ordered(self, region: Region) -> Region:
        """The same part of the tensor with dimensions in the order matrix, row, column (no groups)."""
        shape, start, size = (
            tuple(numbers[axis] for axis in self.axes) for numbers in (region.shape, region.start, region.size)
        )
        return Region(shape, start, size)

    def restored(self, ordered: Array) -> Array:
        """The array that `ordered`, with dimensions in the order matrix, row, column, has in the tensor."""
        return np.transpose(ordered, np.argsort(self.axes))

    @property
    def axes(self) -> tuple[int, ...]:
        """All dimensions in the order matrix, row, column."""
        return (*self.batch, *self.rows, *self.columns)

    @property
    def _at(self) -> int:
        return self.grouped if self.groups > 1 else 0

    @property
    def _split(self) -> list[int]:
        return [*self.shape[: self._at], self.groups, self.shape[self._at] // self.groups, *self.shape[self._at + 1 :]]

    @property
    def _order(self) -> list[int]:
        """Dimensions of `_split` in the order matrix, row, column."""
        batch, rows, columns = ([self._moved(axis) for axis in axes] for axes in (self.batch, self.rows, self.columns))
        return [*batch, self._at, *rows, *columns]

    def _moved(self, axis: int) -> int:
        # In `_split` the group axis stands in front of the dimension `grouped`.
        return axis + (axis >= self._at)


def _flat(spans: list[tuple[int, int, int]]) -> NDArray[np.intp]:
    """Row-major numbers of the places first … first+count−1 of extent `size` along each dimension, ascending."""
    flat = np.zeros(1, np.intp)
    for first, count, size in spans:
        flat = (flat[:, None] * size + np.arange(first, first + count)).ravel()
    return flat


def _merges(sizes: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Whether dimensions of these strides are one dimension without a copy."""
    kept = [(size, stride) for size, stride in zip(sizes, strides, strict=True) if size != 1]
    return all(outer == inner * size for (_, outer), (size, inner) in pairwise(kept))
