"""Elementary functions in float32 from add, multiply, divide and square root alone.

The coefficients are minimax fits made for fanin (`bench/fill_polynomials.py` makes them again); the stated
errors are relative and of the polynomials, float32 rounding adds one or two units in the last place.
"""

from __future__ import annotations

import numpy as np
from numba import float32, int32, uint32

from fanin.random.kernels.decorators import Float32, Word, inlined

_F = np.float32

# −2·ln(1 + f)/f on √½ − 1 … √2 − 1: 1.7e-7
_L0, _L1, _L2, _L3 = _F(-1.99999989), _F(1.0000073), _F(-0.666701179), _F(0.499398181)
_L4, _L5, _L6, _L7 = _F(-0.398003312), _F(0.345016603), _F(-0.324451593), _F(0.202137862)
_MINUS_TWO_LN2 = _F(-1.3862943611)
_ROOT_HALF = np.int32(0x3F3504F3)

# sin(π/4·x)/x and cos(π/4·x) in x² on 0 … 1: 2.4e-9 and 2.8e-8
_S0, _S1, _S2, _S3 = _F(0.785398161), _F(-0.0807454348), _F(0.00249000713), _F(-3.59545078e-05)
_C0, _C1, _C2, _C3 = _F(0.999999972), _F(-0.308424254), _F(0.0158499153), _F(-0.000318880508)

# x/(1 − 2q) in √(w + 8) − √8, w = −ln(4q(1 − q)) on 0 … 30, x the point with upper tail q: 9.5e-8
_ROOT8 = _F(2.82842712)
_P0, _P1, _P2 = _F(1.25331393), _F(1.79429991), _F(2.23150741)
_P3, _P4, _P5 = _F(1.87464247), _F(1.18632041), _F(0.579475372)
_Q1, _Q2, _Q3, _Q4, _Q5 = _F(-0.0493322671), _F(1.17512527), _F(0.114491117), _F(0.36966744), _F(0.00186667121)


@inlined
def minus_two_log32(u: Float32) -> Float32:
    """−2·ln u for normal u > 0."""
    bits = int32(np.float32(u).view(np.int32) - _ROOT_HALF)
    exponent = float32(int32(bits >> int32(23)))
    mantissa = np.int32(int32(int32(bits & int32(0x7FFFFF)) + _ROOT_HALF)).view(np.float32)
    f = mantissa - float32(1)
    p = ((((((_L7 * f + _L6) * f + _L5) * f + _L4) * f + _L3) * f + _L2) * f + _L1) * f + _L0
    return f * p + exponent * _MINUS_TWO_LN2


@inlined
def sin_cos32(x: Float32) -> tuple[Float32, Float32]:
    """sin and cos of π/4·x for x in (−1, 1)."""
    z = x * x
    sine = (((_S3 * z + _S2) * z + _S1) * z + _S0) * x
    cosine = ((_C3 * z + _C2) * z + _C1) * z + _C0
    return sine, cosine


@inlined
def upper_point32(q: Float32) -> Float32:
    """The x ≥ 0 that a standard normal number exceeds with probability q, 2.4e-14 ≤ q ≤ ½, to 1e-6 relative."""
    w = float32(0.5) * minus_two_log32(float32(4) * q * (float32(1) - q))
    t = np.sqrt(w + float32(8)) - _ROOT8
    p = ((((_P5 * t + _P4) * t + _P3) * t + _P2) * t + _P1) * t + _P0
    d = ((((_Q5 * t + _Q4) * t + _Q3) * t + _Q2) * t + _Q1) * t + float32(1)
    return (float32(1) - float32(2) * q) * (p / d)


@inlined
def with_sign32(x: Float32, sign: Word) -> Float32:
    """x, negated where the top bit of `sign` is set."""
    return np.uint32(uint32(np.float32(x).view(np.uint32) ^ uint32(sign & uint32(0x80000000)))).view(np.float32)
