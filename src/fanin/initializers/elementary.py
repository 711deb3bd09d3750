"""Elementary functions of float64 arrays from add, multiply, divide and exact scaling: the same bits on every CPU.

NumPy's own `log`, `exp` and `power` may differ in the last bit between CPUs. These are within a few units in the last
place.
"""

from __future__ import annotations

from math import factorial
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

_ROOT_HALF = 0.70710678118654752440
_LN2_HIGH, _LN2_LOW = 0.693147180369123816490, 1.90821492927058770002e-10
_ARTANH = tuple(2.0 / (2 * k + 1) for k in range(12))
_TAYLOR = tuple(1.0 / factorial(k) for k in range(1, 18))


def log(x: Values) -> Values:
    """ln x for x > 0: ln 2 times the exponent, and 2·artanh((m − 1)/(m + 1)) of the mantissa.

    >>> log(np.array([1.0, 10.0]))
    array([0.        , 2.30258509])
    """
    mantissa, exponent = np.frexp(x)
    low = mantissa < _ROOT_HALF
    mantissa, exponent = np.where(low, 2 * mantissa, mantissa), (exponent - low).astype(np.float64)
    s = (mantissa - 1) / (mantissa + 1)
    return exponent * _LN2_HIGH + (s * _polynomial(s * s, _ARTANH) + exponent * _LN2_LOW)


def exp(x: Values) -> Values:
    """eˣ: Taylor's series within ln 2 / 2 of a multiple of ln 2.

    >>> exp(np.array([0.0, 1.0]))
    array([1.        , 2.71828183])
    """
    times = np.rint(x / (_LN2_HIGH + _LN2_LOW))
    return np.ldexp(1 + _expm1_near((x - times * _LN2_HIGH) - times * _LN2_LOW), times.astype(np.int64))


def expm1(x: Values) -> Values:
    """eˣ − 1, to full precision also near 0.

    >>> expm1(np.array([1e-9]))
    array([1.e-09])
    """
    return np.where(np.abs(x) < 0.3466, _expm1_near(np.clip(x, -0.3466, 0.3466)), exp(x) - 1)


def inverse_softplus(y: Values) -> Values:
    """The x for which softplus(x) = ln(1 + eˣ) = y, for y > 0: y + ln(1 − e⁻ʸ).

    >>> inverse_softplus(np.array([np.log(2.0)])).round(12) + 0.0
    array([0.])
    """
    return y + log(-expm1(-y))


def power(x: Values, exponent: float) -> Values:
    """x to a power ≥ 0, for x ≥ 0; 0⁰ = 1.

    >>> power(np.array([0.0, 4.0]), 0.5)
    array([0., 2.])
    """
    if exponent in (0.0, 1.0):
        return x**0.0 if exponent == 0.0 else x
    positive = x > 0
    return np.where(positive, exp(exponent * log(np.where(positive, x, 1.0))), 0.0)


def _expm1_near(x: Values) -> Values:
    return x * _polynomial(x, _TAYLOR)


def _polynomial(x: Values, coefficients: tuple[float, ...]) -> Any:
    value = np.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        value = value * x + coefficient
    return value
