"""Gaussian columns with a fixed number of zeros."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import ceil, sqrt
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fanin import random
from fanin.errors import ArgumentError
from fanin.initializers.base import Initializer, Storage, check_storage
from fanin.initializers.checks import as_axes, as_floats, as_scale
from fanin.initializers.matrices import Matrices
from fanin.initializers.sparse_kernel import GROUP, PADDING, draw, mark_rows
from fanin.random.fills import checked_normal_law
from fanin.random.kernels.philox import Counters, counters_of
from fanin.random.runs import runs_of
from fanin.random.stream import Region, Stream
from fanin.random.threads import run_shares

_MARKS_PER_VALUE = 3  # take as long as a normal value


@dataclass(frozen=True, slots=True)
class Sparse(Initializer):
    """Values from N(0, std²), of which each column has exactly ceil(sparsity·rows) set to zero, at random.

    Any region computes the whole tensor.

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
        check_storage(out, region)
        view = Matrices("Sparse", region.shape, self.rows, self.batch)
        values = view.work_array(out, region)
        if values.size:
            self._draw(values, stream, threads or random.default_threads())
        view.deliver(values, out, region)

    def _draw(self, values: NDArray[Any], stream: Stream, threads: int) -> None:
        matrices, rows, columns = values.shape
        zeros = ceil(self.sparsity * rows)
        marks = np.empty((matrices * -(-columns // GROUP), 2 * rows + PADDING), np.uint64)
        mark = partial(mark_rows, marks, rows, min(zeros, rows - zeros), *_counters(stream))
        run_shares(mark, len(marks), threads, per_item=-(-rows * GROUP // _MARKS_PER_VALUE))
        law, runs = checked_normal_law(values.dtype.type, 0.0, self.std), runs_of(Region.whole(values.shape))
        lines = values.reshape(-1, columns)
        fill = partial(draw, lines, law, counters_of(stream), runs, marks, 2 * zeros <= rows)
        run_shares(fill, len(lines), threads, per_item=columns)

    def moments(self, shape: tuple[int, ...]) -> tuple[float, float]:
        rows = Matrices("Sparse", shape, self.rows, self.batch).stack[1]
        return 0.0, self.std * sqrt(1 - ceil(self.sparsity * rows) / max(rows, 1))


def _counters(stream: Stream) -> tuple[Counters, Counters]:
    """The random numbers that mark, and those that correct."""
    return counters_of(stream.at_lane(1)), counters_of(stream.at_lane(2))
