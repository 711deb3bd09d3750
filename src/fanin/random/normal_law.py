"""Tails and truncated moments of the standard normal law, in decimal arithmetic: the same digits on every machine."""

from __future__ import annotations

from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, localcontext
from math import isinf, isnan, sqrt

from fanin.errors import ArgumentError

_ROOT_TAU = Decimal("2.50662827463100050241576528481104525300698674060993831662992357634229")
_DIGITS = 50
CONTEXT = Context(prec=_DIGITS, Emax=MAX_EMAX, Emin=MIN_EMIN)
_SERIES_ENDS = 5
_FLAT = 1e-9


def truncated_moments(lower: float, upper: float) -> tuple[float, float]:
    """Mean and standard deviation of the standard normal law cut to [lower, upper].

    With density φ and mass Z = Φ(upper) − Φ(lower): mean = (φ(lower) − φ(upper))/Z and
    variance = 1 + (lower·φ(lower) − upper·φ(upper))/Z − mean².

    Args:
        lower, upper: the bounds, in standard deviations; may be infinite.

    Raises:
        ArgumentError: the bounds are not numbers or not in order.

    Source: Johnson, Kotz, Balakrishnan, "Continuous Univariate Distributions" 1, §10.1.

    >>> mean, std = truncated_moments(-2.0, 2.0)
    >>> mean, round(std, 12)
    (0.0, 0.879625661034)
    """
    check_bounds(lower, upper)
    if upper <= 0:
        mean, std = truncated_moments(-upper, -lower)
        return -mean, std
    if (upper - lower) * (1 + abs(lower)) < _FLAT:
        return lower + (upper - lower) / 2, (upper - lower) / sqrt(12)
    with localcontext(CONTEXT):
        return _moments(lower, upper)


def _moments(lower: float, upper: float) -> tuple[float, float]:
    if isinf(lower) and isinf(upper):
        return 0.0, 1.0
    mass = 1 - upper_tail(-lower) - upper_tail(upper) if lower < 0 else upper_tail(lower) - upper_tail(upper)
    at_lower, at_upper = _density(lower), _density(upper)
    mean = (at_lower - at_upper) / mass
    variance = 1 + (_times(lower, at_lower) - _times(upper, at_upper)) / mass - mean * mean
    return float(mean), float(variance.sqrt())


def check_bounds(lower: float, upper: float) -> None:
    """Raise unless lower < upper, both numbers."""
    if isnan(lower) or isnan(upper) or not lower < upper or lower == float("inf") or upper == -float("inf"):
        raise ArgumentError(f"truncation needs lower < upper, got lower {lower} and upper {upper}")


def upper_tail(x: float) -> Decimal:
    """The probability 1 − Φ(x), for x ≥ 0."""
    return log_upper_tail(x).exp()


def log_upper_tail(x: float) -> Decimal:
    """ln(1 − Φ(x)) for x ≥ 0: by Φ's power series up to 5, by Laplace's continued fraction beyond, to 40 digits.

    Source: Abramowitz, Stegun, "Handbook of Mathematical Functions", 26.2.11 and 26.2.14.
    """
    with localcontext(CONTEXT):
        if isinf(x):
            return Decimal("-Infinity")
        point = Decimal(x)
        if x < _SERIES_ENDS:
            return (Decimal("0.5") - _density(x) * _centre_series(point)).ln()
        return -point * point / 2 - (_ROOT_TAU * _tail_fraction(point)).ln()


def _centre_series(x: Decimal) -> Decimal:
    """x + x³/3 + x⁵/(3·5) + …"""
    total, term, odd = x, x, 1
    while term > total.scaleb(-_DIGITS):
        odd += 2
        term = term * x * x / odd
        total += term
    return total


def _tail_fraction(x: Decimal) -> Decimal:
    """x + 1/(x + 2/(x + 3/(x + …))); the error falls as exp(−2x·√(2·levels))."""
    levels = 40 + int(2 * (_DIGITS / x) ** 2)
    value = x
    for k in range(levels, 0, -1):
        value = x + k / value
    return value


def _density(x: float) -> Decimal:
    point = Decimal(x)
    return Decimal(0) if isinf(x) else (-point * point / 2).exp() / _ROOT_TAU


def _times(x: float, density: Decimal) -> Decimal:
    return Decimal(0) if isinf(x) else Decimal(x) * density
