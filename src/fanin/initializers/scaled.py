"""Another law's values, times a factor for each block of a grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fanin.errors import ArgumentError
from fanin.initializers.base import Initializer, Storage
from fanin.initializers.checks import finite
from fanin.initializers.constant import Constant
from fanin.initializers.normal import Normal
from fanin.initializers.orthogonal import Orthogonal
from fanin.initializers.row_normalized import RowNormalized
from fanin.initializers.sparse import Sparse
from fanin.initializers.storage import shaped, store, working_dtype
from fanin.initializers.truncated_normal import TruncatedNormal
from fanin.initializers.uniform import Uniform
from fanin.random.stream import Region, Stream

ALIKE = (Constant, Normal, Orthogonal, RowNormalized, Sparse, TruncatedNormal, Uniform)
"""Laws whose values have the same moments everywhere in a tensor."""


@dataclass(frozen=True, slots=True)
class Scaled(Initializer):
    """The values of `of`, each times the factor of the block that it is in.

    The tensor is divided into a grid of equal blocks: `grid` says how many along each dimension, and `factors` has one
    number for each, row by row. One factor per output unit of a matrix [64, 128] is the grid (64, 1); one for each of
    three packed projections [192, 64] is (3, 1); a single factor is (1, 1). Multiplied in the dtype that the values
    are computed in and rounded once.

    Args:
        of: the law; one factor goes with every law, several with laws that are alike throughout a tensor.
        factors: finite numbers.
        grid: blocks along each dimension.

    Raises:
        ArgumentError: factors that do not fill the grid, or several factors on a law that is not alike throughout; at
            fill, a tensor of another rank or that the grid does not divide.

    >>> from fanin.initializers import Normal
    >>> units = Scaled(Normal(std=0.5), factors=(1.0, 7.0), grid=(2, 1))
    >>> units.moments((2, 100))
    (0.0, 2.5)
    """

    of: Initializer
    factors: tuple[float, ...]
    grid: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "of", _read(self.of))
        object.__setattr__(self, "factors", tuple(finite("Scaled", "a factor", factor) for factor in self.factors))
        object.__setattr__(self, "grid", tuple(self.grid))
        if any(type(count) is not int or count < 1 for count in self.grid) or prod(self.grid) != len(self.factors):
            raise ArgumentError(
                f"Scaled: {len(self.factors)} factors do not fill the grid {self.grid}: give one for each block"
            )
        if len(self.factors) > 1 and not isinstance(self.of, ALIKE):
            raise ArgumentError(f"Scaled: {self.of.describe()} is not alike throughout a tensor: give one factor")

    @property
    def elementwise(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether the law is."""
        return self.of.elementwise

    def fill(self, out: Storage, stream: Stream, region: Region, *, threads: int | None = None) -> None:
        self.fill_all((out,), stream, (region,), threads=threads)

    def fill_all(
        self, outs: Sequence[Storage], stream: Stream, regions: Sequence[Region], *, threads: int | None = None
    ) -> None:
        parts = [
            (shaped(out, region), self._at(region, working_dtype(out)))
            for out, region in zip(outs, regions, strict=True)
        ]
        exact = [out if out.dtype == factors.dtype else np.empty(out.shape, factors.dtype) for out, factors in parts]
        self.of.fill_all(exact, stream, regions, threads=threads)
        for (out, factors), values in zip(parts, exact, strict=True):
            np.multiply(values, factors, out=values)
            if values is not out:
                store(out, values)

    def needs(self, region: Region) -> Region:
        return self.of.needs(region)

    def moments(self, shape: tuple[int, ...]) -> tuple[float, float]:
        self._sizes(shape)
        mean, std = self.of.moments(shape)
        factors = np.array(self.factors)
        first, second = float(factors.mean()), float(np.square(factors).mean())
        return mean * first, sqrt(std * std * second + mean * mean * max(second - first * first, 0.0))

    def describe(self) -> str:
        """The law, and the factor or their range."""
        if len(self.factors) == 1:
            return f"Scaled({self.of.describe()} × {self.factors[0]:.6g})"
        low, high = min(self.factors), max(self.factors)
        return f"Scaled({self.of.describe()} × {len(self.factors)} factors from {low:.6g} to {high:.6g})"

    def to_dict(self) -> dict[str, Any]:
        """JSON form, the law nested."""
        return {"law": "Scaled", "of": self.of.to_dict(), "factors": list(self.factors), "grid": list(self.grid)}

    def _sizes(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """How large a block is along each dimension."""
        if len(shape) != len(self.grid) or any(size % count for size, count in zip(shape, self.grid, strict=True)):
            raise ArgumentError(f"Scaled: a grid of {self.grid} blocks does not divide a tensor of shape {shape}")
        return tuple(size // count for size, count in zip(shape, self.grid, strict=True))

    def _at(self, region: Region, dtype: np.dtype[Any]) -> NDArray[Any]:
        """The factors of a region, to be broadcast over it."""
        factors = np.array(self.factors, dtype).reshape(self.grid)
        for axis, (size, count) in enumerate(zip(self._sizes(region.shape), self.grid, strict=True)):
            if count > 1:
                places = region.start[axis] + np.arange(region.size[axis])
                factors = np.take(factors, places // max(size, 1), axis=axis)
        return factors


def _read(law: Any) -> Initializer:
    try:
        law = Initializer.from_dict(dict(law)) if isinstance(law, Mapping) else law  # pyright: ignore[reportUnknownArgumentType]
    except RecursionError:
        raise ArgumentError("Scaled: laws are nested too deeply") from None
    if not isinstance(law, Initializer) or isinstance(law, Scaled):
        raise ArgumentError(f"Scaled needs an initializer that is not scaled itself, got {law!r}")
    return law
