"""Values never leave their bounds, and reach them."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest
from scipy import special

from fanin.errors import ArgumentError
from fanin.random import truncated_normal, uniform, words

BOUNDS = [
    (-2.0, 2.0),
    (-0.4, 1.9),
    (0.5, 2.0),
    (-2.0, -1.0),
    (6.0, 8.0),
    (-8.0, -6.0),
    (-1.0, inf),
    (-inf, 0.5),
    (-100.0, 100.0),
    (0.0, 0.1),
    (-3.0, -2.9),
]


@pytest.mark.parametrize("bounds", BOUNDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (0.1, 0.02), (-5.0, 3e-4)])
def test_truncated_values_stay_inside(bounds, dtype, mean, std, draw):
    lower, upper = bounds
    values = draw(truncated_normal, 100_000, mean, std, lower, upper, dtype=dtype).astype(np.float64)
    assert values.min() >= mean + std * lower
    assert values.max() <= mean + std * upper
    assert np.isfinite(values).all()


@pytest.mark.parametrize(("lower", "upper"), [(-2.0, 2.0), (6.0, 8.0), (-0.1, 3.0)])
def test_truncated_values_come_close_to_the_bounds_with_mass(lower, upper, draw):
    values = draw(truncated_normal, 1_000_000, 0.0, 1.0, lower, upper)
    assert values.min() < lower + 1e-4


def test_bounds_between_two_floats_give_the_nearest(draw):
    assert (draw(truncated_normal, 5, 1.0, 1.0, 0.0, 1e-12) == 1.0).all()
    assert (draw(uniform, 5, 1.0 + 1e-12, 1.0 + 2e-12) == 1.0).all()


@pytest.mark.parametrize("bounds", [(1e3, inf), (1e6, 2e6), (1e50, 1e60), (-inf, -1e5), (-1e-70, 1e-90)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bounds_beyond_all_reason_stay_finite_and_inside(bounds, dtype, draw):
    lower, upper = bounds
    values = draw(truncated_normal, 1000, 0.0, 1e-20, lower, upper, dtype=dtype).astype(np.float64)
    assert np.isfinite(values).all()
    assert (values >= 1e-20 * lower).all()
    assert (values <= 1e-20 * upper).all()


def test_bounds_beyond_the_dtype_are_refused(draw):
    message = r"a normal law cut to \[1e\+50, 1e\+60\] has no float32 value: move its bounds"
    with pytest.raises(ArgumentError, match=message):
        draw(truncated_normal, 5, 0.0, 1.0, 1e50, 1e60)


@pytest.mark.parametrize(
    "bounds", [(0.0, 1.0), (-1.0, 1.0), (0.1, 0.3), (-0.7, -0.1), (1e-3, 1e3), (-3e38, 3e38), (5.0, 5.000001)]
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_uniform_values_lie_in_the_half_open_interval(bounds, dtype, draw):
    low, high = bounds
    values = draw(uniform, 1_000_000, low, high, dtype=dtype).astype(np.float64)
    assert values.min() >= low
    assert values.max() < high


@pytest.mark.parametrize(
    "bounds", [(-2.0, 2.0), (-1.5, 0.5), (0.5, 2.0), (-inf, inf), (-1.0, 5.0), (-100.0, 0.5), (0.3, 4.0)]
)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 3e-6), ("float64", 2e-6)])
def test_values_invert_the_distribution_function_in_both_tails(bounds, dtype, tolerance, draw):
    """float64 differs from the 32-bit inverse by its further 21 bits, at most 2⁻³² of the mass."""
    lower, upper = bounds
    values = draw(truncated_normal, 1_000_000, 0.0, 1.0, lower, upper, dtype=dtype).astype(np.float64)
    u = (draw(words, 1_000_000, dtype="uint32").astype(np.float64) + 0.5) / 2**32
    below, above = special.ndtr(lower), special.ndtr(-upper)
    mass = 1 - below - above
    from_left = special.ndtri(below + mass * u)
    expected = np.where(from_left < 0, from_left, -special.ndtri(above + mass * (1 - u)))
    # A cell of 2⁻³² of the mass spans this much of x; beyond 5σ it is wider than the tolerance.
    within = tolerance * np.maximum(np.abs(expected), 0.1) + 2.0**-33 * mass * np.sqrt(2 * np.pi) * np.exp(
        expected**2 / 2
    )
    assert (np.abs(values - expected) < within).all()
