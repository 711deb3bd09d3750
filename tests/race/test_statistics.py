"""The statistics of a race against scipy, by hand, and by simulation."""

from __future__ import annotations

from itertools import product
from math import inf, sqrt

import numpy as np
import pytest

from fanin.race.statistics import holm, mean_interval, signed_rank, student_quantile

stats = pytest.importorskip("scipy.stats")


@pytest.mark.parametrize("count", [1, 2, 5, 8, 16, 25])
def test_signed_rank_is_scipys_exact_test(count: int) -> None:
    for seed in range(5):
        differences = np.random.default_rng(seed).normal(0.4, 1.0, count)
        expected = stats.wilcoxon(differences, method="exact")
        assert signed_rank(differences).p == pytest.approx(expected.pvalue, abs=1e-12)


def by_enumeration(differences: list[float]) -> float:
    """The same by its definition: all signs of the ranks."""
    kept = [each for each in differences if each]
    ranks = stats.rankdata([min(abs(each), 1e300) for each in kept])
    seen = abs(sum(rank * np.sign(each) for rank, each in zip(ranks, kept, strict=True)))
    sums = [abs(float(np.dot(signs, ranks))) for signs in product((1, -1), repeat=len(kept))]
    return sum(each >= seen - 1e-9 for each in sums) / len(sums)


@pytest.mark.parametrize(
    "differences",
    [[1, 1, -1, 2, 2, 3], [inf, inf, -inf, 1, 2, -3], [0, 0, 5, 5, 5, 5], [-1, -1, -2, -3], [10, -10, 20, 20, 10, 30]],
)
def test_signed_rank_with_ties_zeros_and_infinities(differences: list[float]) -> None:
    assert signed_rank(differences).p == pytest.approx(by_enumeration(differences), abs=1e-12)


def test_signed_rank_counts_and_effect() -> None:
    found = signed_rank([3, -1, 0, inf - inf, inf])
    assert (found.positive, found.negative, found.equal) == (2, 1, 2)
    assert found.effect == pytest.approx((2 + 3 - 1) / 6)
    assert signed_rank([0, 0]) == signed_rank([0.0] * 2)
    assert signed_rank([0, 0]).p == 1


def test_signed_rank_is_two_sided() -> None:
    wins = signed_rank([1, 2, 3, 4, 5, 6, 7, 8])
    losses = signed_rank([-1, -2, -3, -4, -5, -6, -7, -8])
    assert wins.p == losses.p == 2 / 256
    assert (wins.effect, losses.effect) == (1, -1)


@pytest.mark.parametrize("seeds", [6, 8, 12])
def test_signed_rank_seldom_finds_what_is_not_there(seeds: int) -> None:
    rounds = 4000
    draws = np.random.default_rng(seeds).normal(size=(rounds, seeds)).round(1)  # with ties and zeros
    wrong = sum(signed_rank(row).p < 0.05 for row in draws) / rounds
    assert wrong <= 0.05 + 5 * sqrt(0.05 * 0.95 / rounds)
    assert wrong > 0.005  # and it is no test that never says anything


def test_signed_rank_finds_what_is_there() -> None:
    draws = np.random.default_rng(0).normal(1.5, 1.0, size=(500, 8))
    assert sum(signed_rank(row).p < 0.05 for row in draws) / 500 > 0.8


def test_holm_rejects_as_its_procedure_does() -> None:
    """Step by step: the smallest p against level/k, the next against level/(k − 1), until one is not below."""
    for seed in range(20):
        values = np.random.default_rng(seed).uniform(0, 0.05, 6)
        corrected = holm(values.tolist())
        for level in (0.01, 0.05, 0.1):
            rejected: set[int] = set()
            for left, place in zip(range(6, 0, -1), np.argsort(values), strict=True):
                if values[place] >= level / left:
                    break
                rejected.add(int(place))
            assert {place for place, each in enumerate(corrected) if each < level} == rejected
    assert holm([]) == ()


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx((0.03, 0.06, 0.06))
    assert holm([0.9, 0.8]) == (1, 1)


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 7, 10, 31, 200])
def test_student_is_scipys(freedom: int) -> None:
    assert student_quantile(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-9)
    assert student_quantile(freedom, 0.5) == pytest.approx(stats.t.ppf(0.75, freedom), rel=1e-9)


def test_interval_is_scipys_and_covers_the_mean() -> None:
    values = [0.91, 0.93, 0.9, 0.95]
    expected = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert mean_interval(values) == pytest.approx(tuple(expected), rel=1e-9)
    assert mean_interval([0.9]) is None
    assert mean_interval([0.9, 0.9]) == (0.9, 0.9)
    rounds = 2000
    draws = np.random.default_rng(3).normal(size=(rounds, 5))
    covered = sum(low <= 0 <= high for low, high in map(mean_interval, draws)) / rounds  # pyright: ignore
    assert abs(covered - 0.95) < 5 * sqrt(0.05 * 0.95 / rounds)
