"""Gaussian rows scaled to one length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import ClassVar

import numpy as np

from fanin import random
from fanin.initializers.base import Initializer, Storage
from fanin.initializers.checks import as_axes, as_scale
from fanin.initializers.matrices import Matrices
from fanin.initializers.parallel import workers
from fanin.initializers.rectangles import boxes, shares, within
from fanin.initializers.storage import shaped, store, working_dtype
from fanin.random.stream import Region, Stream

_TOGETHER = 1 << 18  # values that a thread draws and scales while they are in its cache


@dataclass(frozen=True, slots=True)
class RowNormalized(Initializer):
    """Each row is uniform on the sphere of radius `std`: Gaussian, divided by its L2 norm, times `std`.

    Known as `normc_initializer` (OpenAI Baselines, RLlib), there with std 0.01 for the policy head. The values have
    standard deviation std / √columns. A region computes the rows that it touches.

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
        self.fill_all((out,), stream, (region,), threads=threads)

    def fill_all(
        self, outs: Sequence[Storage], stream: Stream, regions: Sequence[Region], *, threads: int | None = None
    ) -> None:
        parts = [(shaped(out, region), region) for out, region in zip(outs, regions, strict=True)]
        units = dict.fromkeys((*self.batch, *self.rows), 1)
        cuts = list(boxes([self.needs(region) for region in regions], units, _TOGETHER))
        with workers(min(threads or random.default_threads(), max(len(cuts), 1))) as each:
            each(lambda box: self._draw(parts, box, stream), cuts)

    def needs(self, region: Region) -> Region:
        """The whole rows that the region touches."""
        view = self._view(region.shape)
        return view.needs(region, *view.columns)

    def _draw(self, parts: Sequence[tuple[Storage, Region]], box: Region, stream: Stream) -> None:
        """Write what the parts have of a box of whole rows."""
        view, touched = self._view(box.shape), list(shares(parts, box))
        for dtype in {working_dtype(out) for out, _ in touched}:
            ordered = view.ordered(box)
            values = np.empty(ordered.size, dtype)
            random.normal(values, stream, ordered, 0.0, 1.0, threads=1)
            rows = values.reshape(-1, view.stack[2])
            norms = np.sqrt(np.square(rows, dtype=np.float64).sum(axis=-1, keepdims=True))
            norms[norms == 0] = 1
            np.multiply(rows, self.std / norms, out=rows, casting="same_kind")
            for out, common in touched:
                if working_dtype(out) == dtype:
                    store(out, view.restored(values)[within(common, box)])

    def moments(self, shape: tuple[int, ...]) -> tuple[float, float]:
        columns = self._view(shape).stack[2]
        return 0.0, self.std / sqrt(max(columns, 1))

    def _view(self, shape: tuple[int, ...]) -> Matrices:
        return Matrices("RowNormalized", shape, self.rows, self.batch)
