"""A stored tensor seen as a stack of matrices, one per batch entry and group."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fanin.errors import ArgumentError
from fanin.initializers.base import Storage
from fanin.initializers.storage import store_part, working_dtype
from fanin.random.stream import Region


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

    def tensor(self, stack: NDArray[Any]) -> NDArray[Any]:
        """The tensor whose matrices are `stack`, an array of shape `self.stack`; a view where that is possible."""
        order = self._order
        unordered = stack.reshape([self._split[axis] for axis in order])
        return np.transpose(unordered, np.argsort(order)).reshape(self.shape)

    def work_array(self, out: Storage, region: Region) -> NDArray[Any]:
        """An array for the stack in the dtype to compute in: `out` itself where it is all that is needed."""
        if region.is_whole and out.dtype == working_dtype(out) and self._order == sorted(self._order):
            return out.reshape(self.stack)
        return np.empty(self.stack, working_dtype(out))

    def deliver(self, stack: NDArray[Any], out: Storage, region: Region) -> None:
        """Write the part `region` of the tensor into `out`, from the filled `work_array`."""
        if not np.may_share_memory(stack, out):
            store_part(out, self.tensor(stack), region)

    @property
    def _split(self) -> list[int]:
        groups = [self.groups, self.shape[self.grouped] // self.groups]
        return [*self.shape[: self.grouped], *groups, *self.shape[self.grouped + 1 :]]

    @property
    def _order(self) -> list[int]:
        """Dimensions of `_split` in the order matrix, row, column."""
        batch, rows, columns = ([self._moved(axis) for axis in axes] for axes in (self.batch, self.rows, self.columns))
        return [*batch, self.grouped, *rows, *columns]

    def _moved(self, axis: int) -> int:
        # In `_split` the group axis stands in front of the dimension `grouped`.
        return axis + (axis >= self.grouped)
