"""Elementary functions in float64 from add, multiply, divide and square root alone: a few units in the last place."""

from __future__ import annotations

from math import factorial

import numpy as np
from numba import float64, int64, uint64

from fanin.random.kernels.decorators import Float64, inlined

_ROOT_HALF = np.int64(0x3FE6A09E667F3BCD)
_MINUS_TWO_LN2 = np.float64(-1.3862943611198906188)
# −4·artanh(s)/s in s², sin(t)/t and cos(t) in t²: exact series, cut where float64 ends.
_ARTANH = tuple(-4.0 / (2 * k + 1) for k in range(11))
_SINE = tuple((-1.0) ** k / factorial(2 * k + 1) for k in range(9))
_COSINE = tuple((-1.0) ** k / factorial(2 * k) for k in range(9))
_LN_ROOT_TAU = np.float64(0.91893853320467274178)

# AS 241 (Wichura, "The percentage points of the normal distribution", Applied Statistics 37, 1988), lowest power
# first: numerator and denominator for |p − ½| ≤ 0.425, for r = √(−ln q) ≤ 5 about 1.6, for r ≤ 27 about 5.
_CENTRE = (
    (
        3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3, 1.3731693765509461125e4,
        4.5921953931549871457e4, 6.7265770927008700853e4, 3.3430575583588128105e4, 2.5090809287301226727e3,
    ),
    (
        1.0, 4.2313330701600911252e1, 6.8718700749205790830e2, 5.3941960214247511077e3,
        2.1213794301586595867e4, 3.9307895800092710610e4, 2.8729085735721942674e4, 5.2264952788528545610e3,
    ),
)  # fmt: skip
_TAIL = (
    (
        1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0, 3.64784832476320460504e0,
        1.27045825245236838258e0, 2.41780725177450611770e-1, 2.27238449892691845833e-2, 7.74545014278341407640e-4,
    ),
    (
        1.0, 2.05319162663775882187e0, 1.67638483018380384940e0, 6.89767334985100004550e-1,
        1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4, 1.05075007164441684324e-9,
    ),
)  # fmt: skip
_FAR_TAIL = (
    (
        6.65790464350110377720e0, 5.46378491116411436990e0, 1.78482653991729133580e0, 2.96560571828504891230e-1,
        2.65321895265761230930e-2, 1.24266094738807843860e-3, 2.71155556874348757815e-5, 2.01033439929228813265e-7,
    ),
    (
        1.0, 5.99832206555887937690e-1, 1.36929880922735805310e-1, 1.48753612908506148525e-2,
        7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7, 2.04426310338993978564e-15,
    ),
)  # fmt: skip


@inlined
def minus_two_log64(u: Float64) -> Float64:
    """−2·ln u for normal u > 0, by 2·artanh(s) = ln((1 + s)/(1 − s)), |s| < 0.172."""
    bits = int64(np.float64(u).view(np.int64) - _ROOT_HALF)
    exponent = float64(bits >> int64(52))
    mantissa = np.int64(int64((bits & int64(0xFFFFFFFFFFFFF)) + _ROOT_HALF)).view(np.float64)
    f = mantissa - 1.0
    s = f / (2.0 + f)
    z, c = s * s, _ARTANH
    tail = ((((c[10] * z + c[9]) * z + c[8]) * z + c[7]) * z + c[6]) * z + c[5]
    series = ((((tail * z + c[4]) * z + c[3]) * z + c[2]) * z + c[1]) * z + c[0]
    return exponent * _MINUS_TWO_LN2 + s * series


@inlined
def sin_cos64(x: Float64) -> tuple[Float64, Float64]:
    """sin and cos of π/4·x for x in (−1, 1), by Taylor's series."""
    t = x * 0.78539816339744830962
    z, s, c = t * t, _SINE, _COSINE
    sine = (((((((s[8] * z + s[7]) * z + s[6]) * z + s[5]) * z + s[4]) * z + s[3]) * z + s[2]) * z + s[1]) * z
    cosine = (((((((c[8] * z + c[7]) * z + c[6]) * z + c[5]) * z + c[4]) * z + c[3]) * z + c[2]) * z + c[1]) * z
    return t + t * sine, 1.0 + cosine


@inlined
def upper_point64(q: Float64, log_scale: Float64) -> Float64:
    """The x that a standard normal number exceeds with probability q·exp(log_scale) > exp(−729)."""
    # Choosing coefficients instead of branching keeps the loop around this vectorised.
    central = (log_scale == 0.0) & (q >= 0.075)
    centred = 0.5 - q
    r = np.sqrt(0.5 * minus_two_log64(q) - log_scale)
    near = r <= 5.0
    t = _pick(central, near, 0.180625 - centred * centred, r - 1.6, r - 5.0)
    top = _polynomial7(t, central, near, _CENTRE[0], _TAIL[0], _FAR_TAIL[0])
    ratio = top / _polynomial7(t, central, near, _CENTRE[1], _TAIL[1], _FAR_TAIL[1])
    return centred * ratio if central else ratio


@inlined
def _pick(central: bool, near: bool, centre: Float64, tail: Float64, far_tail: Float64) -> Float64:
    return centre if central else (tail if near else far_tail)


@inlined
def _polynomial7(
    t: Float64, central: bool, near: bool, c: tuple[float, ...], d: tuple[float, ...], e: tuple[float, ...]
) -> Float64:
    p = _pick(central, near, c[7], d[7], e[7]) * t + _pick(central, near, c[6], d[6], e[6])
    p = p * t + _pick(central, near, c[5], d[5], e[5])
    p = p * t + _pick(central, near, c[4], d[4], e[4])
    p = p * t + _pick(central, near, c[3], d[3], e[3])
    p = p * t + _pick(central, near, c[2], d[2], e[2])
    p = p * t + _pick(central, near, c[1], d[1], e[1])
    return p * t + _pick(central, near, c[0], d[0], e[0])


@inlined
def far_upper_point64(q: Float64, log_scale: Float64) -> Float64:
    """`upper_point64` for x > 37: solves ln q = −x²/2 − ln(x√2π) + ln(1 − 1/x² + 3/x⁴ − 15/x⁶ + 105/x⁸).

    Each step gains three digits.
    """
    log_q = log_scale - 0.5 * minus_two_log64(q)
    x = np.sqrt(-2.0 * log_q)
    for _ in range(6):
        z = 1.0 / (x * x)
        mills = 1.0 - z * (1.0 - z * (3.0 - z * (15.0 - z * 105.0)))
        x = np.sqrt(-2.0 * (log_q + _LN_ROOT_TAU) + minus_two_log64(x / mills))
    return x


@inlined
def with_sign64(x: Float64, negative: bool) -> Float64:
    """x, negated where asked."""
    sign = uint64(0x8000000000000000) if negative else uint64(0)
    return np.uint64(np.float64(x).view(np.uint64) ^ sign).view(np.float64)
