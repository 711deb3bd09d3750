"""Small-sample statistics, exact: a paired test, its correction for many pairs, an interval for a mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, pi, sin, sqrt

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_DIGITS = 9  # of a difference; those behind are rounding


@dataclass(frozen=True, slots=True)
class SignedRank:
    """A paired test.

    Attributes:
        p: two-sided; how often differences at least as one-sided would come if the sign of each were a coin's throw.
        effect: matched-pairs rank-biserial correlation, from −1 (all differences negative) to 1 (all positive).
        positive, negative, equal: how many pairs differ which way.
    """

    p: float
    effect: float
    positive: int
    negative: int
    equal: int


def signed_rank(differences: Sequence[float]) -> SignedRank:
    """Wilcoxon's signed-rank test of paired differences, exact for any number of pairs and with ties.

    The absolute differences that are not zero get ranks 1 … m (equal ones their mean), and W is the sum of the ranks
    with the signs of the differences. Under the null hypothesis all 2ᵐ signs are equally likely; p is the share of
    them with |W| at least as large as seen, counted by convolution. Differences may be infinite (all infinite ones are
    equal in size); NaN, as ∞ − ∞, counts as zero. Sizes that agree in nine digits are equal, as 0.93 − 0.91 and
    0.95 − 0.93 are, which differ as floats.

    Source: Wilcoxon 1945; effect size: Kerby 2014, "The simple difference formula".

    >>> result = signed_rank([1.0, 2.0, 3.0, float("inf"), 0.5])
    >>> result.p, result.effect
    (0.0625, 1.0)
    """
    given = np.array([float(f"{each:.{_DIGITS}g}") for each in differences], dtype=np.float64)
    kept = given[~np.isnan(given) & (given != 0)]
    positive, negative = int((kept > 0).sum()), int((kept < 0).sum())
    equal = len(given) - len(kept)
    if not len(kept):
        return SignedRank(1.0, 0.0, 0, 0, equal)
    twice = _twice_ranks(np.abs(kept))  # whole numbers, as ranks of ties are halves
    total, seen = int(twice.sum()), int((twice * np.sign(kept)).sum())
    # The probability of each sum of the ranks with a plus; the signed sum is 2·plus − total.
    plus = np.zeros(total + 1)
    plus[0] = 1.0
    for rank in twice.astype(int):
        plus[rank:] = (plus[rank:] + plus[: total + 1 - rank]) / 2
        plus[:rank] /= 2
    extreme = np.abs(2 * np.arange(total + 1) - total) >= abs(seen)
    return SignedRank(min(1.0, float(plus[extreme].sum())), seen / total, positive, negative, equal)


def _twice_ranks(sizes: Array) -> Array:
    """2 × rank, where equal sizes share the mean of their ranks: smaller ones + not larger ones + 1."""
    ordered = np.sort(sizes)
    return (np.searchsorted(ordered, sizes, "left") + np.searchsorted(ordered, sizes, "right") + 1).astype(np.float64)


def holm(values: Sequence[float]) -> tuple[float, ...]:
    """p-values corrected for their number, so that one false finding among all stays below the level.

    The i-th smallest of k is multiplied by k − i + 1, and none is smaller than the one before.

    Source: Holm 1979, "A simple sequentially rejective multiple test procedure".

    >>> holm([0.01, 0.04, 0.03])
    (0.03, 0.06, 0.06)
    """
    corrected = [0.0] * len(values)
    least = 0.0
    for place, index in enumerate(sorted(range(len(values)), key=lambda index: values[index])):
        least = max(least, min(1.0, (len(values) - place) * values[index]))
        corrected[index] = least
    return tuple(corrected)


def mean_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """The 95 % confidence interval of a mean, mean ± t·s/√n with Student's t; None for fewer than two values.

    >>> low, high = mean_interval([0.9, 0.92, 0.94])
    >>> round(low, 3), round(high, 3)
    (0.87, 0.97)
    """
    count = len(values)
    if count < 2:
        return None
    mean, deviation = float(np.mean(values)), float(np.std(values, ddof=1))
    half = student_quantile(count - 1) * deviation / sqrt(count)
    return mean - half, mean + half


def student_quantile(freedom: int, level: float = 0.95) -> float:
    """The t with P(|T| ≤ t) = level for Student's distribution with so many degrees of freedom.

    >>> round(student_quantile(7), 3)
    2.365
    """
    low, high = 0.0, pi / 2  # of the angle atan(t / √freedom), in which the probability is a finite sum
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, freedom) < level else (low, middle)
    return sqrt(freedom) * sin(low) / cos(low)


def _within(angle: float, freedom: int) -> float:
    """P(|T| ≤ √freedom·tan(angle)); Abramowitz & Stegun 26.7.3 and 26.7.4."""
    square = cos(angle) ** 2
    if freedom == 1:
        return 2 * angle / pi
    odd = freedom % 2
    term = cos(angle) if odd else 1.0
    total = term
    for step in range(2 + odd, freedom - 1, 2):
        term *= square * (step - 1) / step
        total += term
    return 2 / pi * (angle + sin(angle) * total) if odd else sin(angle) * total
