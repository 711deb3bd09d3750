"""Gaussian rows scaled to one length."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import ClassVar

import numpy as np

from fanin import random
from fanin.initializers.base import Initializer, Storage, check_storage
from fanin.initializers.checks import as_axes, as_scale
from fanin.initializers.matrices import Matrices
from fanin.random.stream import Region, Stream


@dataclass(frozen=True, slots=True)
class RowNormalized(Initializer):
    """Each row is uniform on the sphere of radius `std`: Gaussian, divided by its L2 norm, times `std`.

    Known as `normc_initializer` (OpenAI Baselines, RLlib), there with std 0.01 for the policy head. The values have
    standard deviation std / √columns. Any region computes the whole tensor.

    Args:
        std: the L2 norm of every row.
        rows: dimensions that index the rows (outputs).
        batch: dimensions that index independent matrices; makes no difference to the law.

    Raises:
        ArgumentError: std negative or not finite; at fill, a tensor without these dimensions.

    >>> RowNormalized(std=0.5).moments((10, 25))
    (0.0, 0.1)
    """

    elementwise: ClassVar[bool] = False

    std: float = 1.0
    rows: tuple[int, ...] = (0,)
    batch: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        as_scale(self, "std")
        as_axes(self, "rows", "batch")

    def fill(self, out: Storage, stream: Stream, region: Region, *, threads: int | None = None) -> None:
        check_storage(out, region)
        view = Matrices("RowNormalized", region.shape, self.rows, self.batch)
        rows = view.work_array(out, region)
        random.normal(rows, stream, Region.whole(view.stack), 0.0, 1.0, threads=threads)
        norms = np.sqrt(np.square(rows, dtype=np.float64).sum(axis=-1, keepdims=True))
        norms[norms == 0] = 1  # rows without columns
        np.multiply(rows, self.std / norms, out=rows, casting="same_kind")
        view.deliver(rows, out, region)

    def moments(self, shape: tuple[int, ...]) -> tuple[float, float]:
        columns = Matrices("RowNormalized", shape, self.rows, self.batch).stack[2]
        return 0.0, self.std / sqrt(max(columns, 1))
