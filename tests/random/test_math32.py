"""The elementary functions of float32 against float64, to the errors that their docstrings state."""

from __future__ import annotations

from collections.abc import Callable
from math import pi, sqrt

import numba
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import special

from fanin.random.kernels import math32

CENTRAL = special.erf(2 / sqrt(2))
"""2Φ(2) − 1, as far as `central_point32` goes."""


def floats(first: float, last: float) -> NDArray[np.float32]:
    """Every third float32 number of [first, last]."""
    ends = (int(np.float32(end).view(np.int32)) for end in (first, last))
    return np.arange(*ends, 3, dtype=np.int32).view(np.float32)


def over(function: Callable[..., float], x: NDArray[np.float32]) -> NDArray[np.float64]:
    @numba.njit(error_model="numpy")
    def each(x, out):
        for i in range(x.size):
            out[i] = function(x[i])

    out = np.empty_like(x)
    each(x, out)
    return out.astype(np.float64)


def relative(seen: NDArray[np.float64], exact: NDArray[np.float64]) -> float:
    return float(np.abs(seen / exact - 1).max())


def test_central_points_invert_the_distribution_function():
    for s in (floats(0.125, CENTRAL), np.geomspace(1e-10, 0.125, 1 << 20).astype(np.float32)):
        exact = sqrt(2) * special.erfinv(s.astype(np.float64))
        seen = over(math32.central_point32, s)
        assert relative(seen, exact) < 3e-7
        assert (over(math32.central_point32, -s[::97]) == -seen[::97]).all()
    assert math32.central_point32(np.float32(0)) == 0
    assert math32.central_point32(np.float32(CENTRAL)) == pytest.approx(2, rel=3e-7)


def test_upper_points_invert_the_tail():
    for q in (floats(0.25, 0.4999), np.geomspace(2.4e-14, 0.25, 1 << 20).astype(np.float32)):
        assert relative(over(math32.upper_point32, q), -special.ndtri(q.astype(np.float64))) < 1e-6


def test_logarithms():
    for u in (floats(0.25, 0.999), np.geomspace(1e-10, 0.25, 1 << 20).astype(np.float32)):
        assert relative(over(math32.minus_two_log32, u), -2 * np.log(u.astype(np.float64))) < 4e-7


@pytest.mark.parametrize(("place", "function"), [(0, np.sin), (1, np.cos)])
def test_sine_and_cosine(place, function):
    @numba.njit(error_model="numpy")
    def one(x):
        return math32.sin_cos32(x)[place]

    x = floats(2.0**-4, 1.0)
    assert relative(over(one, x), function(pi / 4 * x.astype(np.float64))) < 3e-7
