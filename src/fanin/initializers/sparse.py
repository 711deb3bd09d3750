"""Gaussian columns with a fixed number of zeros."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil, sqrt
from typing import ClassVar

import numpy as np

from fanin import random
from fanin.errors import ArgumentError
from fanin.initializers.base import Initializer, Storage
from fanin.initializers.checks import as_axes, as_floats, as_scale
from fanin.initializers.matrices import Matrices
from fanin.initializers.rectangles import boxes, shares
from fanin.initializers.sparse_kernel import GROUP, draw, mark_rows
from fanin.initializers.sparse_marks import Marks
from fanin.initializers.storage import shaped, store, working_dtype
from fanin.random.fills import checked_normal_law
from fanin.random.kernels.philox import counters_of
from fanin.random.runs import runs_of
from fanin.random.stream import Region, Stream
from fanin.random.threads import run_shares

_MARKS_PER_VALUE = 3  # take as long as a normal value
_TOGETHER = 1 << 24  # marks that are kept at a time


@dataclass(frozen=True, slots=True)
class Sparse(Initializer):
    """Values from N(0, std²), of which each column has exactly ceil(sparsity·rows) set to zero, at random.

    A region finds the zeros of the columns that it touches, and draws its own values alone.

    Args:
        sparsity: fraction of zeros in each column, from 0 to 1.
        std: standard deviation of the other values.
        rows: dimensions along which the zeros are counted. (0,) is torch's meaning: each input of a [out, in]
            matrix loses the same number of outputs. (1,) is Martens': each unit keeps the same number of inputs.
        batch: dimensions that index independent matrices; makes no difference to the law.

    Raises:
        ArgumentError: sparsity outside [0, 1], std negative or not finite; at fill, a tensor without
            these dimensions.

    Source: Martens 2010, "Deep learning via Hessian-free optimization".

    >>> Sparse(0.75, std=0.01).moments((16, 30))
    (0.0, 0.005)
    """

    elementwise: ClassVar[bool] = False

    sparsity: float
    std: float = 0.01
    rows: tuple[int, ...] = (0,)
    batch: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        as_floats(self, "sparsity")
        if not 0 <= self.sparsity <= 1:
            raise ArgumentError(f"Sparse: sparsity must be from 0 to 1, got {self.sparsity}")
        as_scale(self, "std")
        as_axes(self, "rows", "batch")

    def fill(self, out: Storage, stream: Stream, region: Region, *, threads: int | None = None) -> None:
        self.fill_all((out,), stream, (region,), threads=threads)

    def fill_all(
        self, outs: Sequence[Storage], stream: Stream, regions: Sequence[Region], *, threads: int | None = None
    ) -> None:
        parts = [(shaped(out, region), region) for out, region in zip(outs, regions, strict=True)]
        if not parts:
            return
        view, count = self._view(regions[0].shape), threads or random.default_threads()
        first, *others = view.columns
        units = dict.fromkeys(view.batch, 1) | {first: 1 if others else GROUP}
        for box in boxes([self.needs(region) for region in regions], units, _TOGETHER):
            marks = self._mark(view, box, stream, count)
            for out, common in shares(parts, box):
                self._draw(view, out, common, marks, stream, count)

    def needs(self, region: Region) -> Region:
        """The whole columns that the region touches, in which zeros are counted."""
        view = self._view(region.shape)
        return view.needs(region, *view.rows)

    def _mark(self, view: Matrices, box: Region, stream: Stream, threads: int) -> Marks:
        """The marks of a box of whole columns."""
        _, rows, columns = view.stack
        marks, zeros = Marks.empty(view, box), self._zeros(rows)
        numbers = (marks.matrices[:, None] * -(-columns // GROUP) + marks.groups).ravel()
        counters = counters_of(stream.at_lane(1)), counters_of(stream.at_lane(2))  # to mark, and to correct
        mark = partial(mark_rows, marks.words, numbers, rows, min(zeros, rows - zeros), *counters)
        run_shares(mark, len(numbers), threads, per_item=-(-rows * GROUP // _MARKS_PER_VALUE))
        return marks

    def _draw(self, view: Matrices, out: Storage, region: Region, marks: Marks, stream: Stream, threads: int) -> None:
        """Draw a region whose columns are marked."""
        ordered, target = view.ordered(region), np.transpose(out, view.axes)
        direct = target.flags.c_contiguous and out.dtype == working_dtype(out)
        values = target if direct else np.empty(ordered.size, working_dtype(out))
        rows, columns = view.places(region, view.rows), view.places(region, view.columns)
        lines = values.reshape(-1, len(columns))
        law, runs = checked_normal_law(values.dtype.type, 0.0, self.std), runs_of(ordered)
        where = marks.begins(view.numbers(region)), rows, marks.slots(columns)
        erased = 2 * self._zeros(view.stack[1]) <= view.stack[1]
        fill = partial(draw, lines, law, counters_of(stream), runs, marks.words, erased, *where)
        run_shares(fill, len(lines), threads, per_item=len(columns))
        if not direct:
            store(out, view.restored(values))

    def _zeros(self, rows: int) -> int:
        return ceil(self.sparsity * rows)

    def moments(self, shape: tuple[int, ...]) -> tuple[float, float]:
        rows = self._view(shape).stack[1]
        return 0.0, self.std * sqrt(1 - self._zeros(rows) / max(rows, 1))

    def _view(self, shape: tuple[int, ...]) -> Matrices:
        return Matrices("Sparse", shape, self.rows, self.batch)
