"""Truncated moments against mpmath-made numbers and SciPy."""

from __future__ import annotations

from math import exp, inf, sqrt

import pytest
from scipy import special

from fanin.errors import ArgumentError
from fanin.random.normal_law import log_upper_tail, truncated_moments

# mean and std by mpmath with 120 digits
MOMENTS = {
    (-1.0, 1.0): (0.0, 0.53956009),
    (-2.0, 2.0): (0.0, 0.8796256610342398),
    (-3.0, 3.0): (0.0, 0.98657839),
    (-1.0, inf): (0.2875999709391784, 0.7935277473262075),
    (6.0, 8.0): (6.158481366839959, 0.1548716029749152),
    (3.0, 3.001): (3.000499749958379, 0.0002886750648099921),
    (-inf, -5.0): (-5.186503967125842, 0.1808215546253052),
    (40.0, 50.0): (40.02496884720726, 0.024953323998846103),
    (300.0, inf): (300.0033332592634, 0.0033332222306575333),
    (1.0, 1.0 + 2**-40): (1.0 + 2**-41, 2**-40 / sqrt(12)),
    (-inf, inf): (0.0, 1.0),
    (-100.0, 100.0): (0.0, 1.0),
    (0.0, inf): (0.7978845608028654, 0.6028102749890869),
}


@pytest.mark.parametrize("bounds", MOMENTS)
def test_moments(bounds):
    mean, std = MOMENTS[bounds]
    digits = 1e-7 if bounds in ((-1.0, 1.0), (-3.0, 3.0)) else 1e-15
    assert truncated_moments(*bounds) == pytest.approx((mean, std), rel=digits, abs=0)


def test_mirrored_bounds_mirror_the_mean():
    mean, std = truncated_moments(0.5, 3.0)
    assert truncated_moments(-3.0, -0.5) == (-mean, std)


@pytest.mark.parametrize("x", [0.0, 1e-9, 0.3, 1.0, 4.999, 5.0, 5.5, 12.0, 38.0])
def test_tails(x):
    assert float(log_upper_tail(x)) == pytest.approx(special.log_ndtr(-x), rel=1e-14)


def test_tails_fall_as_they_must():
    assert exp(log_upper_tail(0.0)) == 0.5
    assert log_upper_tail(inf) == float("-inf")
    assert float(log_upper_tail(1e5)) == pytest.approx(-5e9, rel=1e-8)


@pytest.mark.parametrize("bounds", [(1.0, 1.0), (2.0, 1.0), (float("nan"), 1.0), (0.0, float("nan")), (inf, inf)])
def test_crossed_bounds_are_refused(bounds):
    with pytest.raises(ArgumentError, match=f"truncation needs lower < upper, got lower {bounds[0]}"):
        truncated_moments(*bounds)
