"""Draws as rows of memory: one call of a kernel writes as many tensors as there are under laws of one class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from fanin.initializers import Initializer
from fanin.plans.steps import Draw
from fanin.random.many import Rows, fill_many, keys_of
from fanin.random.many_laws import Laws
from fanin.random.runs import runs_of
from fanin.torch.fill import is_direct
from fanin.torch.materialize.memory import Memory
from fanin.torch.materialize.tasks import Task
from fanin.torch.pieces import pieces_of

_STORED = {
    torch.float32: np.dtype("float32"),
    torch.float64: np.dtype("float64"),
    torch.float16: np.dtype("float16"),
    torch.bfloat16: np.dtype("uint16"),
}

Run = tuple[int, int, int]
"""Address, elements, and the flat index of the first one within the logical tensor."""


class Batch(NamedTuple):
    """Rows under laws of one class, stored in one dtype.

    Attributes:
        owners: for each row, the number of its task.
    """

    stored: np.dtype[Any]
    laws: Laws
    rows: Rows
    owners: NDArray[np.intp]

    def write(self, threads: int) -> None:
        """Draw all values; whoever holds the memory vouches for the addresses."""
        fill_many(self.stored, self.laws, self.rows, threads=threads)

    def cut(self, most: int) -> Iterator[Batch]:
        """The same rows, in batches of between one and two times `most` elements, large rows in several of them."""
        if int(self.rows.counts.sum()) <= most:
            yield self
            return
        which, first, counts = cut_rows(self.rows.counts, most)
        addresses = self.rows.addresses[which] + (first * self.stored.itemsize).astype(np.uint64)
        offsets, keys, lanes = self.rows.offsets[which] + first, self.rows.keys[which], self.rows.lanes[which]
        number = (np.cumsum(counts) - counts) // most
        bounds = [0, *(np.flatnonzero(np.diff(number)) + 1).tolist(), len(which)]
        for a, b in pairwise(bounds):
            rows = Rows(addresses[a:b], counts[a:b], offsets[a:b], keys[a:b], lanes[a:b])
            laws = Laws(self.laws.kind, self.laws.numbers[which[a:b]])
            yield Batch(self.stored, laws, rows, self.owners[which[a:b]])


def cut_rows(counts: NDArray[np.int64], most: int) -> tuple[NDArray[np.intp], NDArray[np.int64], NDArray[np.int64]]:
    """Rows cut to at most `most` elements: for each part its row, its first element there and how many it has.

    >>> [array.tolist() for array in cut_rows(np.array([5, 2]), 4)]
    [[0, 0, 1], [0, 4, 0], [4, 1, 2]]
    """
    parts = np.maximum(-(-counts // most), 1)
    which = np.repeat(np.arange(len(counts)), parts)
    first = (np.arange(len(which)) - np.repeat(np.cumsum(parts) - parts, parts)) * most
    return which, first, np.minimum(counts[which] - first, most)


class _Group(NamedTuple):
    """What is to become a batch, a row at a time."""

    owners: list[int]
    laws: list[Initializer]
    runs: list[Run]


def batched(tasks: Sequence[Task], memory: Memory, seed: int) -> list[Batch]:
    """All draws that kernels can write by address alone.

    Raises:
        ArgumentError: a law's numbers do not fit the dtype.
    """
    groups: dict[tuple[type[Initializer], torch.dtype], _Group] = {}
    for number, task in enumerate(tasks):
        step, action = task.step, task.step.action
        if type(action) is not Draw or not task.held or not _has_rows(type(action.initializer)):
            continue
        law, target = action.initializer, memory[step.name]
        key = type(law), target.dtype
        group = groups[key] if key in groups else groups.setdefault(key, _Group([], [], []))
        if task.usual and target.is_cpu:
            group.owners.append(number)
            group.laws.append(law)
            group.runs.append((target.data_ptr(), target.numel(), 0))
        else:
            runs = _runs(target)
            group.owners.extend([number] * len(runs))
            group.laws.extend([law] * len(runs))
            group.runs.extend(runs)
    return [
        Batch(_STORED[dtype], laws, _rows(group, tasks, seed), np.array(group.owners, np.intp))
        for (kind, dtype), group in groups.items()
        if group.owners and (laws := kind.laws(group.laws, _STORED[dtype])) is not None
    ]


@cache
def _has_rows(kind: type[Initializer]) -> bool:
    """Whether kernels write what the law's own `fill` does: the class that has its `fill` has its `laws` too."""
    fill, laws = (next(each for each in kind.__mro__ if name in vars(each)) for name in ("fill", "laws"))
    return laws is fill is not Initializer


def _runs(target: torch.Tensor) -> list[Run]:
    """The memory of a tensor as runs of consecutive elements; none where it is too scattered or not on the CPU."""
    runs: list[Run] = []
    for piece in pieces_of(target):
        if not is_direct(piece.memory):
            return []
        if piece.region.numel:
            run = runs_of(piece.region)
            if run.extents.size:
                return []
            runs.append((piece.memory.data_ptr(), piece.region.numel, run.offset))
    return runs


def _rows(group: _Group, tasks: Sequence[Task], seed: int) -> Rows:
    keys = keys_of(seed, [tasks[owner].step.name for owner in group.owners])
    addresses, counts, offsets = zip(*group.runs, strict=True)
    ends = np.array(counts, np.int64), np.array(offsets, np.int64)
    return Rows(np.array(addresses, np.uint64), *ends, keys, np.zeros(len(keys), np.uint32))
