"""The normal law cut off at two bounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import sqrt
from typing import Any

import numpy as np

from fanin import random
from fanin.errors import ArgumentError
from fanin.initializers.base import Initializer, Storage, check_storage
from fanin.initializers.checks import as_floats, as_ordered, as_scale
from fanin.random.fills import checked_truncated_law
from fanin.random.many_laws import Laws, laws_of, real_of
from fanin.random.stream import Region, Stream

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(20)


@dataclass(frozen=True, slots=True)
class TruncatedNormal(Initializer):
    """Independent values from a parent normal law, given that they lie within `lower` and `upper` of its sigmas.

    Args:
        mean: mean of the values if `corrected`, else of the parent (the same where lower = −upper).
        std: standard deviation of the values if `corrected`, else of the parent.
        lower, upper: bounds in sigmas of the parent, counted from its mean.
        corrected: the parent is chosen so that the values have exactly this mean and std. At ±2 sigmas its
            std is std / 0.879625661034, as variance scaling in JAX, Keras and timm has it.

    Raises:
        ArgumentError: a number is not finite, std is negative, or lower ≥ upper.

    >>> TruncatedNormal(std=0.02).moments((3, 4))
    (0.0, 0.02)
    >>> round(TruncatedNormal(std=0.02, corrected=False).moments((3, 4))[1], 7)
    0.0175925
    """

    mean: float = 0.0
    std: float = 1.0
    lower: float = -2.0
    upper: float = 2.0
    corrected: bool = True

    def __post_init__(self) -> None:
        as_floats(self, "mean")
        as_scale(self, "std")
        as_ordered(self, "lower", "upper", strict=True)

    @classmethod
    def absolute(cls, mean: float, std: float, low: float, high: float) -> TruncatedNormal:
        """N(mean, std²) given low ≤ value ≤ high, not corrected: what `torch.nn.init.trunc_normal_` means.

        Raises:
            ArgumentError: as for the law itself, or std = 0 with `mean` outside the bounds.

        >>> TruncatedNormal.absolute(0.0, 0.02, -2.0, 2.0)  # torch's defaults: bounds at 100 sigmas
        TruncatedNormal(mean=0.0, std=0.02, lower=-100.0, upper=100.0, corrected=False)
        """
        if std > 0:
            return cls(mean, std, (low - mean) / std, (high - mean) / std, corrected=False)
        if std == 0 and not low <= mean <= high:
            raise ArgumentError(
                f"TruncatedNormal: with std 0 every value is {mean}, outside the bounds {low} and {high}"
            )
        return cls(mean, std, corrected=False)

    @property
    def parent(self) -> tuple[float, float]:
        """(mean, std) of the parent normal law."""
        if not self.corrected:
            return self.mean, self.std
        shift, shrink = truncated_moments(self.lower, self.upper)
        return self.mean - shift * self.std / shrink, self.std / shrink

    def fill(self, out: Storage, stream: Stream, region: Region, *, threads: int | None = None) -> None:
        check_storage(out, region)
        mean, std = self.parent
        random.truncated_normal(out, stream, region, mean, std, self.lower, self.upper, threads=threads)

    @classmethod
    def laws(cls, group: Sequence[TruncatedNormal], stored: np.dtype[Any]) -> Laws | None:
        real = real_of(stored)
        return laws_of([checked_truncated_law(real, *law.parent, law.lower, law.upper) for law in group])

    def moments(self, shape: tuple[int, ...]) -> tuple[float, float]:
        if self.corrected:
            return self.mean, self.std
        shift, shrink = truncated_moments(self.lower, self.upper)
        return self.mean + shift * self.std, self.std * shrink


@lru_cache(maxsize=256)  # a model has many tensors and few bounds
def truncated_moments(lower: float, upper: float) -> tuple[float, float]:
    """(mean, std) of N(0, 1) cut at `lower` and `upper`, to 12 digits, also far out in a tail.

    By quadrature of the density relative to its peak, because differences of the closed form cancel in a tail.
    """
    shift = 0.0 if lower == -upper else _mean_of(lower, upper, 0.0)[0]
    return _steady(shift), _steady(sqrt(_mean_of(lower, upper, shift)[1]))


def _steady(value: float) -> float:
    # The last bits of exp differ between CPUs; they must not reach the weights.
    return float(f"{value:.12g}")


def _mean_of(lower: float, upper: float, centre: float) -> tuple[float, float]:
    peak = min(max(lower, 0.0), upper)
    reach = sqrt(peak * peak + 80)  # beyond, the density is below e⁻⁴⁰ of the peak's
    edges = np.linspace(max(lower, -reach), min(upper, reach), 25)
    half = np.diff(edges)[:, None] / 2
    x = edges[:-1, None] + half * (_NODES + 1)
    mass = half * _WEIGHTS * np.exp((peak - x) * (peak + x) / 2)
    off = x - centre
    return float((mass * x).sum() / mass.sum()), float((mass * off * off).sum() / mass.sum())
