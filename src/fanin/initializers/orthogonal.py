"""Haar-random orthogonal matrices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import ClassVar

from fanin.initializers.base import Initializer, Storage
from fanin.initializers.checks import as_axes, as_floats, as_groups
from fanin.initializers.haar_pieces import fill_haar
from fanin.initializers.matrices import Matrices
from fanin.initializers.storage import shaped
from fanin.random.stream import Region, Stream


@dataclass(frozen=True, slots=True)
class Orthogonal(Initializer):
    """`gain` times a Haar-random orthogonal matrix per batch entry and group.

    Rows are orthonormal where there are at most as many rows as columns, else columns are: min-side Gram matrix
    gain²·I. Half precision is computed in float32 and rounded once. A region computes the matrices that it touches.

    Args:
        gain: factor on the matrix; the values have standard deviation |gain| / √max(rows, columns).
        rows: dimensions that index matrix rows; what is left after `rows` and `batch` indexes columns.
            (0,) is torch's flattening [out, rest].
        batch: dimensions that index independent matrices (experts).
        groups: independent matrices that lie one behind the other along dimension `grouped`: groups of a
            convolution, gates of an LSTM.
        grouped: that dimension.

    Raises:
        ArgumentError: gain not finite, dimensions named twice; at fill, a tensor of fewer than two
            dimensions, or groups that do not divide.

    Source: Saxe et al. 2013 (arXiv 1312.6120); Haar law by Stewart 1980 and Mezzadri 2007 (math-ph/0609050).

    >>> Orthogonal(gain=2.0).moments((64, 100))
    (0.0, 0.2)
    """

    elementwise: ClassVar[bool] = False

    gain: float = 1.0
    rows: tuple[int, ...] = (0,)
    batch: tuple[int, ...] = ()
    groups: int = 1
    grouped: int = 0

    def __post_init__(self) -> None:
        as_floats(self, "gain")
        as_axes(self, "rows", "batch")
        as_groups(self)

    def fill(self, out: Storage, stream: Stream, region: Region, *, threads: int | None = None) -> None:
        self.fill_all((out,), stream, (region,), threads=threads)

    def fill_all(
        self, outs: Sequence[Storage], stream: Stream, regions: Sequence[Region], *, threads: int | None = None
    ) -> None:
        parts = [(shaped(out, region), region) for out, region in zip(outs, regions, strict=True)]
        if parts:
            fill_haar(self._view(regions[0].shape), parts, stream, self.gain, threads)

    def needs(self, region: Region) -> Region:
        """The whole matrices, but only of the batch entries and groups that the region touches."""
        view = self._view(region.shape)
        return view.needs(region, *view.rows, *view.columns)

    def moments(self, shape: tuple[int, ...]) -> tuple[float, float]:
        _, rows, columns = self._view(shape).stack
        return 0.0, abs(self.gain) / sqrt(max(rows, columns, 1))

    def _view(self, shape: tuple[int, ...]) -> Matrices:
        return Matrices("Orthogonal", shape, self.rows, self.batch, self.groups, self.grouped)
