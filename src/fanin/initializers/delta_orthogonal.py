"""Convolutions that are orthogonal at the centre tap and zero elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod, sqrt
from typing import ClassVar

from fanin.errors import ArgumentError
from fanin.initializers.base import Initializer, Storage
from fanin.initializers.checks import as_axes, as_floats, as_groups
from fanin.initializers.haar_pieces import fill_haar
from fanin.initializers.matrices import Matrices
from fanin.initializers.storage import shaped
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
        self.fill_all((out,), stream, (region,), threads=threads)

    def fill_all(
        self, outs: Sequence[Storage], stream: Stream, regions: Sequence[Region], *, threads: int | None = None
    ) -> None:
        if not regions:
            return
        kernel, view = self._split(regions[0].shape)
        parts: list[tuple[Storage, Region]] = []
        for out, region in zip(outs, regions, strict=True):
            values = shaped(out, region)
            values.fill(0)
            if _has_centre(region, kernel):
                taps = tuple(
                    _tap(size) - region.start[axis] if axis in kernel else slice(None)
                    for axis, size in enumerate(region.shape)
                )
                parts.append((values[taps], _channels(region, kernel)))
        fill_haar(view, parts, stream, self.gain, threads)

    def needs(self, region: Region) -> Region:
        """The whole matrices whose centre taps the region touches; else the region itself, which is zero."""
        kernel, view = self._split(region.shape)
        if not _has_centre(region, kernel):
            return region
        channels = view.needs(_channels(region, kernel), *view.rows, *view.columns)
        first, count = iter(channels.start), iter(channels.size)
        start = tuple(place if axis in kernel else next(first) for axis, place in enumerate(region.start))
        size = tuple(extent if axis in kernel else next(count) for axis, extent in enumerate(region.size))
        return Region(region.shape, start, size)

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


def _tap(size: int) -> int:
    return (size - 1) // 2


def _has_centre(region: Region, kernel: tuple[int, ...]) -> bool:
    return region.numel > 0 and all(
        region.start[axis] <= _tap(region.shape[axis]) < region.start[axis] + region.size[axis] for axis in kernel
    )


def _channels(region: Region, kernel: tuple[int, ...]) -> Region:
    """The region of the centre tap's matrices."""
    kept = [axis for axis in range(len(region.shape)) if axis not in kernel]
    shape, start, size = (
        tuple(numbers[axis] for axis in kept) for numbers in (region.shape, region.start, region.size)
    )
    return Region(shape, start, size)
