"""Convolutions that are orthogonal at the centre tap and zero elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod, sqrt
from typing import ClassVar

import numpy as np

from fanin.errors import ArgumentError
from fanin.initializers.base import Initializer, Storage, check_storage
from fanin.initializers.checks import as_axes, as_floats, as_groups
from fanin.initializers.haar import fill_haar
from fanin.initializers.matrices import Matrices
from fanin.initializers.storage import store_part, working_dtype
from fanin.random.stream import Region, Stream


@dataclass(frozen=True, slots=True)
class DeltaOrthogonal(Initializer):
    """A Haar-random orthogonal matrix of channels at the centre tap (k−1)//2 of each kernel; zero elsewhere.

    With outputs ≥ inputs (per group), stride 1 and `padding="same"` the convolution is `gain` times an isometry: it
    keeps the norm of every input, for even kernels too. With outputs < inputs it keeps the norm of every
    gradient on its way back instead, and the forward norm on average is gain·√(outputs/inputs).

    Args:
        gain: factor on the matrix.
        rows: dimensions that index outputs.
        columns: dimensions that index inputs; what is left is the kernel.
        batch: dimensions that index independent convolutions.
        groups: groups of the convolution.
        grouped: the dimension that holds all groups: 0 in torch, for transposed convolutions too.

    Raises:
        ArgumentError: gain not finite, dimensions named twice; at fill, a tensor that lacks the
            dimensions, or groups that do not divide.

    Source: Xiao et al. 2018 (arXiv 1806.05393).

    >>> DeltaOrthogonal().moments((16, 4, 3, 3)) == (0.0, (1 / 16 / 9) ** 0.5)
    True
    """

    elementwise: ClassVar[bool] = False

    gain: float = 1.0
    rows: tuple[int, ...] = (0,)
    columns: tuple[int, ...] = (1,)
    batch: tuple[int, ...] = ()
    groups: int = 1
    grouped: int = 0

    def __post_init__(self) -> None:
        as_floats(self, "gain")
        as_axes(self, "rows", "columns", "batch")
        as_groups(self)

    def fill(self, out: Storage, stream: Stream, region: Region, *, threads: int | None = None) -> None:
        check_storage(out, region)
        kernel, view = self._split(region.shape)
        whole = np.zeros(region.shape, working_dtype(out))
        if whole.size:
            centre = tuple((k - 1) // 2 if axis in kernel else slice(None) for axis, k in enumerate(region.shape))
            stack = np.empty(view.stack, whole.dtype)
            fill_haar(stack, stream, self.gain, threads)
            whole[centre] = view.tensor(stack)
        store_part(out, whole, region)

    def moments(self, shape: tuple[int, ...]) -> tuple[float, float]:
        kernel, view = self._split(shape)
        _, rows, columns = view.stack
        return 0.0, abs(self.gain) / sqrt(max(rows, columns, 1) * max(prod(shape[axis] for axis in kernel), 1))

    def _split(self, shape: tuple[int, ...]) -> tuple[tuple[int, ...], Matrices]:
        named = (*self.rows, *self.columns, *self.batch)
        if not self.columns or max(named) >= len(shape):
            raise ArgumentError(
                f"DeltaOrthogonal with rows {self.rows}, columns {self.columns} and batch {self.batch} "
                f"needs a tensor with these dimensions, got shape {shape}"
            )
        kernel = tuple(axis for axis in range(len(shape)) if axis not in named)
        kept = [axis for axis in range(len(shape)) if axis in named]
        rows, batch = (tuple(kept.index(axis) for axis in axes) for axes in (self.rows, self.batch))
        grouped = kept.index(self.grouped) if self.grouped in kept else len(shape)
        channels = tuple(shape[axis] for axis in kept)
        return kernel, Matrices("DeltaOrthogonal", channels, rows, batch, self.groups, grouped)
