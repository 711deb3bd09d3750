"""Second moments behind pooling: against closed forms and against draws."""

from __future__ import annotations

from math import acos, pi, sqrt

import numpy as np
import pytest

from fanin.errors import ArgumentError
from fanin.gains import operating_point, pooled_second_moment

CORRELATIONS = (0.0, 0.5, 0.75, 0.9, 1.0)


@pytest.mark.parametrize("rho", CORRELATIONS)
def test_closed_forms(rho):
    # the two squares of a pair add up to 2, and either may be the larger one's
    assert pooled_second_moment("linear", largest_of=2, correlation=rho) == pytest.approx(1, abs=2e-6)
    assert pooled_second_moment("linear", mean_of=4, correlation=rho) == pytest.approx((1 + 3 * rho) / 4, abs=2e-6)
    # Cho & Saul 2009, the arc-cosine kernel of degree 1
    kernel = (sqrt(1 - rho**2) + rho * (pi - acos(rho))) / pi
    assert pooled_second_moment("relu", 2.0, mean_of=9, correlation=rho) == pytest.approx(
        1 / 9 + 8 / 9 * kernel, abs=2e-6
    )


def test_the_largest_of_three_normal_values():
    # E[max²] = 1 + √3/(2π) for three independent ones (Jones 1948)
    found = pooled_second_moment("linear", largest_of=3, correlation=0.0)
    assert found == pytest.approx(1 + sqrt(3) / (2 * pi), abs=2e-6)


@pytest.mark.parametrize("activation", ["relu", "gelu", "tanh", "silu", "elu"])
@pytest.mark.parametrize(("largest_of", "mean_of"), [(4, 1), (9, 1), (1, 4), (4, 9)])
def test_against_draws(activation, largest_of, mean_of):
    functions = {
        "relu": lambda z: np.maximum(z, 0),
        "gelu": _gelu,
        "tanh": np.tanh,
        "silu": lambda z: z / (1 + np.exp(-z)),
        "elu": lambda z: np.where(z > 0, z, np.expm1(z)),
    }
    variance = operating_point(activation).variance
    random = np.random.default_rng(5)
    common, own = random.standard_normal((20_000, 1, 1)), random.standard_normal((20_000, mean_of, largest_of))
    values = functions[activation](sqrt(variance) * (sqrt(0.75) * common + 0.5 * own))
    squares = values.max(axis=2).mean(axis=1) ** 2
    found = pooled_second_moment(activation, variance, largest_of=largest_of, mean_of=mean_of)
    assert abs(found - squares.mean()) < 5 * squares.std() / sqrt(len(squares))


def _gelu(z):
    from scipy.special import ndtr

    return z * ndtr(z)


def test_no_pool_and_equal_values_change_nothing():
    for activation in ("relu", "gelu", "tanh"):
        point = operating_point(activation)
        for windows in ({}, {"largest_of": 9, "correlation": 1.0}, {"mean_of": 9, "correlation": 1.0}):
            found = pooled_second_moment(activation, point.variance, **windows)
            assert found == pytest.approx(point.second_moment, abs=2e-6)


def test_bad_numbers():
    for wrong in ({"correlation": 1.5}, {"largest_of": 0}, {"mean_of": 0}, {"variance": 0.0}):
        with pytest.raises(ArgumentError, match="pooling needs a positive variance, a correlation from 0 to 1"):
            pooled_second_moment("relu", **wrong)
