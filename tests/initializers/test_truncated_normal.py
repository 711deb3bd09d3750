"""Truncated normal: the four meanings that libraries give it, told apart."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
from scipy import stats

from fanin.initializers import TruncatedNormal

BOUNDS = [(-1, 1), (-2, 2), (-3, 3), (-100, 100), (0.5, 1), (-2, 5), (3, 9), (8, 9), (-7, -6), (0, 0.001)]


@pytest.mark.parametrize(("lower", "upper"), BOUNDS)
def test_uncorrected_moments_are_those_of_the_cut_law(lower, upper):
    mean, std = TruncatedNormal(1.0, 0.5, lower, upper, corrected=False).moments((3,))
    law = stats.truncnorm(lower, upper, loc=1.0, scale=0.5)
    assert mean == pytest.approx(law.mean(), rel=1e-10)
    assert std == pytest.approx(law.std(), rel=1e-6 if upper - lower < 0.01 else 1e-9)


@pytest.mark.parametrize(("lower", "upper"), BOUNDS)
def test_a_corrected_parent_gives_the_requested_moments(lower, upper):
    law = TruncatedNormal(0.3, 0.02, lower, upper)
    mean, std = law.parent
    uncorrected = TruncatedNormal(mean, std, lower, upper, corrected=False)
    assert uncorrected.moments((1,)) == pytest.approx((0.3, 0.02), rel=1e-9)


def test_the_constants_that_other_libraries_use():
    assert TruncatedNormal(lower=-1, upper=1, corrected=False).moments(())[1] == pytest.approx(0.5395601, abs=1e-7)
    assert TruncatedNormal(corrected=False).moments(())[1] == pytest.approx(0.87962566103423978, rel=1e-11)
    assert TruncatedNormal(lower=-3, upper=3, corrected=False).moments(())[1] == pytest.approx(0.9865784, abs=1e-7)


@pytest.mark.parametrize("corrected", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("lower", "upper"), [(-2, 2), (-1, 1), (-0.4, 1.9), (0.5, 2), (-2, -0.5), (-3, 3), (-2.5, 2.5)]
)
def test_values_have_the_moments_to_five_standard_errors(fill, lower, upper, dtype, corrected):
    law = TruncatedNormal(0.01, 0.02, lower, upper, corrected=corrected)
    values = fill(law, (500, 600), dtype).astype(np.float64)
    mean, std = law.moments(values.shape)
    fourth = np.mean((values - values.mean()) ** 4)
    assert abs(values.mean() - mean) < 5 * std / sqrt(values.size)
    assert abs(values.var() - std**2) < 5 * sqrt((fourth - std**4) / values.size)


def test_bounds_are_in_sigmas_of_the_parent(fill):
    values = fill(TruncatedNormal(0.5, 0.1, -1.0, 3.0), (400, 500), "float64")
    mean, std = TruncatedNormal(0.5, 0.1, -1.0, 3.0).parent
    assert mean - std <= values.min() < mean - 0.99 * std
    assert mean + 2.5 * std < values.max() <= mean + 3 * std


def test_absolute_bounds_are_torchs_meaning(fill):
    law = TruncatedNormal.absolute(0.0, 1.0, -0.5, 1.5)
    values = fill(law, (400, 500))
    assert -0.5 <= values.min() < -0.499
    assert 1.499 < values.max() <= 1.5
    # Torch's default bounds of ±2 do not truncate a std of 0.02 at all.
    default = TruncatedNormal.absolute(0.0, 0.02, -2.0, 2.0)
    assert default.moments(()) == (0.0, 0.02)
    assert fill(default, (1000, 1000)).max() > 4 * 0.02


def test_std_zero_is_the_mean_everywhere(fill):
    assert (fill(TruncatedNormal.absolute(0.25, 0.0, 0.0, 1.0), (5,)) == 0.25).all()
    assert (fill(TruncatedNormal(0.25, 0.0), (5,)) == 0.25).all()


def test_values_follow_the_law(fill):
    values = fill(TruncatedNormal(corrected=False), (500, 400), "float64").ravel()
    assert stats.kstest(values, stats.truncnorm(-2, 2).cdf).pvalue > 1e-4
