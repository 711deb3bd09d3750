"""Moments to five standard errors and Kolmogorov–Smirnov against SciPy on fixed draws."""

from __future__ import annotations

from math import inf, sqrt

import numpy as np
import pytest
from scipy import stats

from fanin.random import normal, truncated_normal, uniform

COUNT = 1_000_000
FEWER = 200_000  # for the many shapes of truncation
LAWS = {
    "uniform": (uniform, (-0.25, 0.5), stats.uniform(-0.25, 0.75)),
    "normal": (normal, (0.1, 0.02), stats.norm(0.1, 0.02)),
    "cut at 2 sigma": (truncated_normal, (0.1, 0.02, -2.0, 2.0), stats.truncnorm(-2, 2, 0.1, 0.02)),
    "cut at 1 sigma": (truncated_normal, (0.1, 0.02, -1.0, 1.0), stats.truncnorm(-1, 1, 0.1, 0.02)),
    "uneven within 2 sigma": (truncated_normal, (0.1, 0.02, -0.4, 1.9), stats.truncnorm(-0.4, 1.9, 0.1, 0.02)),
    "right of 0.5 within 2 sigma": (truncated_normal, (0.0, 1.0, 0.5, 2.0), stats.truncnorm(0.5, 2)),
    "left of -0.5 within 2 sigma": (truncated_normal, (0.0, 1.0, -2.0, -0.5), stats.truncnorm(-2, -0.5)),
    "cut at 100 sigma": (truncated_normal, (0.0, 0.02, -100.0, 100.0), stats.norm(0, 0.02)),
    "uncut": (truncated_normal, (0.0, 1.0, -inf, inf), stats.norm()),
    "right half": (truncated_normal, (0.0, 1.0, 0.0, inf), stats.halfnorm()),
    "left of 1": (truncated_normal, (0.0, 1.0, -inf, 1.0), stats.truncnorm(-np.inf, 1)),
    "uneven": (truncated_normal, (3.0, 2.0, -0.5, 3.0), stats.truncnorm(-0.5, 3, 3, 2)),
    "left tail": (truncated_normal, (0.0, 1.0, -3.0, -1.0), stats.truncnorm(-3, -1)),
    "far tail": (truncated_normal, (0.0, 1.0, 6.0, 8.0), stats.truncnorm(6, 8)),
    "tail at 5.5": (truncated_normal, (0.0, 1.0, 5.5, inf), stats.truncnorm(5.5, np.inf)),
    "tail at 4": (truncated_normal, (0.0, 1.0, 4.0, inf), stats.truncnorm(4, np.inf)),
    "tail at 50": (truncated_normal, (0.0, 1.0, 50.0, inf), stats.truncnorm(50, np.inf)),
    "narrow": (truncated_normal, (0.0, 1.0, -0.01, 0.02), stats.truncnorm(-0.01, 0.02)),
}


@pytest.fixture(scope="module", params=[(law, dtype) for law in LAWS for dtype in ("float32", "float64")])
def sample(request, draw):
    name, dtype = request.param
    fill, numbers, law = LAWS[name]
    count = COUNT if name in ("uniform", "normal", "cut at 2 sigma") else FEWER
    return draw(fill, count, *numbers, dtype=dtype, name=f"{name} {dtype}").astype(np.float64), law


def test_moments_to_five_standard_errors(sample):
    values, law = sample
    mean, variance = law.mean(), law.var()
    moments = np.mean((values - values.mean()) ** 4)
    assert abs(values.mean() - mean) < 5 * sqrt(variance / values.size)
    assert abs(values.var() - variance) < 5 * sqrt((moments - values.var() ** 2) / values.size)


def test_distribution(sample):
    values, law = sample
    assert stats.kstest(values, law.cdf).pvalue > 1e-4


def test_neighbours_and_strides_are_uncorrelated(draw):
    for fill, numbers in (
        (normal, (0.0, 1.0)),
        (uniform, (-sqrt(3), sqrt(3))),
        (truncated_normal, (0.0, 1.0, -9.0, 9.0)),
    ):
        values = draw(fill, COUNT, *numbers).astype(np.float64)
        for lag in (1, 2, 3, 4, 5, 8, 64, 512, 2048):
            for a, b in ((values, values), (values**2 - 1, values**2 - 1), (values, values**2 - 1)):
                product = a[:-lag] * b[lag:]
                assert abs(product.mean()) < 5 * product.std() / sqrt(product.size)


def test_streams_of_different_names_and_lanes_are_uncorrelated(draw):
    values = np.stack([draw(normal, 4096, 0.0, 1.0, name=f"layers.{i}.weight") for i in range(300)]).astype(np.float64)
    correlations = np.corrcoef(values)[np.triu_indices(300, 1)] * sqrt(4096)
    assert np.abs(correlations).max() < 5.5
    assert abs(correlations.var() - 1) < 5 * sqrt(2 / correlations.size)


@pytest.mark.parametrize("sigmas", [4.0, 4.5])
def test_tails_beyond_four_sigma_are_there(sigmas, draw):
    values = np.abs(draw(normal, 4 * COUNT, 0.0, 1.0, name="tails"))
    expected = 4 * COUNT * 2 * stats.norm.sf(sigmas)
    assert abs((values > sigmas).sum() - expected) < 5 * sqrt(expected)


def test_normal_reaches_the_promised_extremes():
    from fanin.random.kernels.math32 import minus_two_log32
    from fanin.random.kernels.math64 import minus_two_log64

    assert sqrt(minus_two_log32(np.float32(2.0**-33))) == pytest.approx(6.7637, abs=1e-4)
    assert sqrt(minus_two_log64(2.0**-54)) == pytest.approx(8.6522, abs=1e-4)


def test_symmetric_bounds_have_mean_exactly_zero_over_the_cells():
    from fanin.random.kernels.uniform import signed_unit32

    words = np.array([0, 2**8 - 1, 2**31 - 1, 2**31, 2**32 - 1, 123456789, 2**32 - 1 - 123456789], np.uint32)
    units = [float(signed_unit32(word)) for word in words]
    assert units[5] == -units[6]
    assert max(units) == 1 - 2**-24
    assert min(units) == -1 + 2**-24
    assert 0.0 not in units
