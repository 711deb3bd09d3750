"""How far a sample is from a law, each statistic as a deviation in standard errors of a normal variable.

A deviation of 5 has a chance of 6e-7, whatever the law, the statistic and the number of values:

- mean: (x̄ − μ)/(σ/√n);
- std: the variance has ν = 2n/(κ − (n − 3)/(n − 1)) degrees of freedom, κ the kurtosis of the law; by Wilson and
  Hilferty (1931) (s²/σ²)^⅓ is normal with mean 1 − 2/(9ν) and variance 2/(9ν);
- ends: with F the law's distribution function, n·F(min) and n·(1 − F(max)) are exponential; a value beyond the
  bounds is infinitely far;
- shape: √n·sup|Fₙ − F| follows Kolmogorov's law.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import exp, inf, sqrt

import numpy as np
from scipy.special import kolmogorov
from scipy.stats import norm, truncnorm

from fanin.initializers import Initializer, Normal, TruncatedNormal, Uniform

_NORMAL = 3.0
_FEWEST = 8
_DISTINCT = 20  # values that the test of the shape needs

Numbers = np.ndarray


@dataclass(frozen=True, slots=True)
class Law:
    """What a sample is held against.

    Attributes:
        mean, std, kurtosis: its moments.
        low, high: its bounds.
        below: its distribution function; None where values depend on each other.
        rounding: relative rounding of the stored values.
    """

    mean: float
    std: float
    kurtosis: float
    low: float
    high: float
    below: Callable[[Numbers], Numbers] | None
    rounding: float

    def deviations(self, values: Numbers) -> dict[str, float]:
        """Statistic → its deviation in standard errors."""
        n = len(values)
        found = {"mean": abs(float(values.mean()) - self.mean) / (self.std / sqrt(n))}
        if n >= _FEWEST:
            found["std"] = variance_deviation(float(values.var(ddof=1)) / self.std**2, n, self.kurtosis)
        found["ends"] = self._ends(values)
        if self.below is not None and n >= _DISTINCT:
            found["shape"] = self._shape(values, self.below)
        return found

    def _ends(self, values: Numbers) -> float:
        slack = 2 * self.rounding * max(abs(self.low), abs(self.high), self.std)
        least, most = float(values.min()), float(values.max())
        if np.isfinite(slack) and (least < self.low - slack or most > self.high + slack):
            return inf
        if self.below is None:
            return 0.0
        first, last = self.below(np.array([least, most]))
        return max(_of_chance(exp(-len(values) * tail)) for tail in (first, 1 - last))

    def _shape(self, values: Numbers, below: Callable[[Numbers], Numbers]) -> float:
        n = len(values)
        ranks = below(np.sort(values))
        steps = np.arange(n + 1) / n
        distance = max(float((steps[1:] - ranks).max()), float((ranks - steps[:-1]).max()))
        return _of_chance(float(kolmogorov((sqrt(n) + 0.12 + 0.11 / sqrt(n)) * distance)))


def law_of(law: Initializer, shape: tuple[int, ...], rounding: float) -> Law:
    """The law of the values of an initializer in a tensor of this shape."""
    mean, std = law.moments(shape)
    match law:
        case Normal():
            return Law(mean, std, _NORMAL, -inf, inf, lambda x: norm.cdf(x, mean, std), rounding)
        case Uniform(low, high):
            return Law(mean, std, 1.8, low, high, lambda x: np.clip((x - low) / (high - low), 0, 1), rounding)
        case TruncatedNormal():
            return _truncated(law, mean, std, rounding)
        case _:
            return Law(mean, std, _NORMAL, -inf, inf, None, rounding)


def _truncated(law: TruncatedNormal, mean: float, std: float, rounding: float) -> Law:
    unit = truncnorm(law.lower, law.upper)
    parent = std / float(unit.std())
    centre = mean - parent * float(unit.mean())
    found = truncnorm(law.lower, law.upper, loc=centre, scale=parent)
    kurtosis = float(unit.stats("k")) + _NORMAL
    return Law(mean, std, kurtosis, centre + parent * law.lower, centre + parent * law.upper, found.cdf, rounding)


def two_samples(first: Numbers, second: Numbers) -> dict[str, float]:
    """Deviations of two samples of one size from each other, where the law has no name."""
    n, spread = len(first), sqrt((first.var(ddof=1) + second.var(ddof=1)) / 2)
    if spread == 0:
        return {"mean": 0.0 if first[0] == second[0] else inf}
    pooled = np.concatenate([first - first.mean(), second - second.mean()])
    kurtosis = max(float((pooled**4).mean() / (pooled**2).mean() ** 2), 1.8)
    freedom = 2 * n / (kurtosis - (n - 3) / (n - 1))
    cubes = [(sample.var(ddof=1) / spread**2) ** (1 / 3) for sample in (first, second)]
    return {
        "mean": abs(float(first.mean() - second.mean())) / (spread * sqrt(2 / n)),
        "std": abs(cubes[0] - cubes[1]) / sqrt(4 / (9 * freedom)),
    }


def variance_deviation(ratio: float, n: int, kurtosis: float) -> float:
    """|z| of s²/σ² of `n` independent values, by Wilson and Hilferty."""
    freedom = 2 * n / (kurtosis - (n - 3) / (n - 1))
    return abs(ratio ** (1 / 3) - (1 - 2 / (9 * freedom))) / sqrt(2 / (9 * freedom))


def _of_chance(chance: float) -> float:
    """The |z| of a two-sided normal test with this chance."""
    return float(norm.isf(min(max(chance, 1e-300), 1.0) / 2))
