"""A law for half of a tensor, and the other half minus it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import sqrt
from typing import Any, ClassVar

import numpy as np

from fanin.errors import ArgumentError
from fanin.initializers.base import Initializer, Storage
from fanin.initializers.checks import as_axes
from fanin.initializers.rectangles import hull, intersection, within
from fanin.initializers.storage import negate, shaped
from fanin.random.stream import Region, Stream


@dataclass(frozen=True, slots=True)
class Mirrored(Initializer):
    """Along each dimension of `axes` the second half is minus the first: [[A, −A], [−A, A]] with A drawn by `of`.

    Units then come in pairs z and −z, and the next layer sees only f(z) − f(−z), which is z for ReLU, GELU and
    SiLU: with an orthogonal A a deep network starts as an isometry, though each unit is as nonlinear as ever.

    Args:
        of: the law of A, whose shape is the tensor's with each dimension of `axes` halved.
        axes: the outputs where a nonlinearity follows, the inputs where they come in pairs.

    Raises:
        ArgumentError: `of` is no initializer, no dimension; at fill, a dimension that is missing or odd.

    Source: Balduzzi et al. 2017 (arXiv 1702.08591), section 5, "looks linear" initialization.

    >>> from fanin.initializers import Orthogonal
    >>> Mirrored(Orthogonal(), axes=(0, 1)).moments((64, 64)) == Orthogonal().moments((32, 32))
    True
    """

    elementwise: ClassVar[bool] = False

    of: Initializer
    axes: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        object.__setattr__(self, "of", _read(self.of))
        as_axes(self, "axes")
        if not self.axes:
            raise ArgumentError("Mirrored needs at least one dimension to mirror along")

    def fill(self, out: Storage, stream: Stream, region: Region, *, threads: int | None = None) -> None:
        self.fill_all((out,), stream, (region,), threads=threads)

    def fill_all(
        self, outs: Sequence[Storage], stream: Stream, regions: Sequence[Region], *, threads: int | None = None
    ) -> None:
        shares = [
            (shaped(out, region)[within(common, region)], corner, common)
            for out, region in zip(outs, regions, strict=True)
            for corner, common in self._corners(region)
        ]
        values = [out if out.flags.c_contiguous else np.empty(out.shape, out.dtype) for out, _, _ in shares]
        parts = [_moved(common, corner) for _, corner, common in shares]
        self.of.fill_all(values, stream, parts, threads=threads)
        for (out, corner, _), drawn in zip(shares, values, strict=True):
            if sum(first > 0 for first in corner.start) % 2:
                negate(drawn)
            if drawn is not out:
                out[...] = drawn

    def needs(self, region: Region) -> Region:
        """What the law of A needs for it, in each of the corners ±A that it touches."""
        parts = [(corner, self.of.needs(_moved(common, corner))) for corner, common in self._corners(region)]
        moved = [
            Region(region.shape, tuple(a + b for a, b in zip(part.start, corner.start, strict=True)), part.size)
            for corner, part in parts
        ]
        return hull(moved) if moved else region

    def moments(self, shape: tuple[int, ...]) -> tuple[float, float]:
        mean, std = self.of.moments(self._half(shape))
        return 0.0, sqrt(mean * mean + std * std)

    def describe(self) -> str:
        """The law of the half and the mirrored dimensions."""
        return f"Mirrored({self.of.describe()}, axes={self.axes})"

    def to_dict(self) -> dict[str, Any]:
        """JSON form, the law nested."""
        return {"law": "Mirrored", "of": self.of.to_dict(), "axes": list(self.axes)}

    def _corners(self, region: Region) -> Iterator[tuple[Region, Region]]:
        """Each corner A or −A that a region touches, and what they share."""
        half = self._half(region.shape)
        seconds = [(0, size) if axis in self.axes else (0,) for axis, size in enumerate(half)]
        for start in product(*seconds):
            corner = Region(region.shape, start, half)
            common = intersection(corner, region)
            if common is not None:
                yield corner, common

    def _half(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        if max(self.axes) >= len(shape) or any(shape[axis] % 2 for axis in self.axes):
            raise ArgumentError(f"Mirrored along dimensions {self.axes} needs even sizes there, got shape {shape}")
        return tuple(size // 2 if axis in self.axes else size for axis, size in enumerate(shape))


def _moved(region: Region, corner: Region) -> Region:
    """`region` as a part of A, which lies at `corner`."""
    return Region(corner.size, tuple(a - b for a, b in zip(region.start, corner.start, strict=True)), region.size)


def _read(law: Any) -> Initializer:
    try:
        law = Initializer.from_dict(dict(law)) if isinstance(law, Mapping) else law  # pyright: ignore[reportUnknownArgumentType]
    except RecursionError:
        raise ArgumentError("Mirrored: laws are nested too deeply") from None
    if not isinstance(law, Initializer):
        raise ArgumentError(f"Mirrored needs an initializer, got {law!r}")
    return law
