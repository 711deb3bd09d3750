"""The identity matrix."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from fanin.errors import ArgumentError
from fanin.initializers.base import Initializer, Storage, check_storage
from fanin.initializers.checks import as_axes, as_floats
from fanin.initializers.moments import sparse_constant
from fanin.initializers.storage import scatter
from fanin.random.stream import Region, Stream


@dataclass(frozen=True, slots=True)
class Identity(Initializer):
    """`gain` on the diagonal, zero elsewhere: W x = gain·x, cut off or zero-padded where W is not square.

    Args:
        gain: the diagonal value.
        batch: dimensions that index independent matrices (experts); two others must remain.

    Raises:
        ArgumentError: gain not finite; at fill, a tensor that is not a matrix.

    >>> Identity().moments((2, 2))
    (0.5, 0.5)
    """

    gain: float = 1.0
    batch: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        as_floats(self, "gain")
        as_axes(self, "batch")

    def fill(self, out: Storage, stream: Stream, region: Region, *, threads: int | None = None) -> None:
        check_storage(out, region)
        rows, columns = self._matrix(region.shape)
        copies = [region.shape[axis] for axis in self.batch]
        at = np.indices([*copies, min(region.shape[rows], region.shape[columns])]).reshape(len(copies) + 1, -1)
        index = np.empty((at.shape[1], len(region.shape)), np.int64)
        index[:, [*self.batch, rows, columns]] = np.concatenate([at, at[-1:]]).T
        scatter(out, region, index, self.gain)

    def moments(self, shape: tuple[int, ...]) -> tuple[float, float]:
        rows, columns = self._matrix(shape)
        ones = min(shape[rows], shape[columns]) * prod(shape[axis] for axis in self.batch)
        return sparse_constant(self.gain, ones, prod(shape))

    def _matrix(self, shape: tuple[int, ...]) -> tuple[int, int]:
        rest = [axis for axis in range(len(shape)) if axis not in self.batch]
        if len(rest) != 2 or max(self.batch, default=0) >= len(shape):
            raise ArgumentError(f"Identity needs a matrix (and batch dimensions {self.batch}), got shape {shape}")
        return rest[0], rest[1]
