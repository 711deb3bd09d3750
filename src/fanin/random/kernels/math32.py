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
_L4, _L5, _L6, _L7 = _F(-0.398003309), _F(0.345016596), _F(-0.324451612), _F(0.202137907)
_MINUS_TWO_LN2 = _F(-1.3862943611)
_ROOT_HALF = np.int32(0x3F3504F3)

# sin(π/4·x)/x and cos(π/4·x) in x² on 0 … 1: 2.4e-9 and 2.8e-8
_S0, _S1, _S2, _S3 = _F(0.785398161), _F(-0.0807454348), _F(0.00249000713), _F(-3.59545078e-05)
_C0, _C1, _C2, _C3 = _F(0.999999972), _F(-0.308424254), _F(0.0158499153), _F(-0.000318880508)

# x/(1 − 2q) in √(w + 8) − √8, w = −ln(4q(1 − q)) on 0 … 30, x the point with upper tail q: 9.5e-8
_ROOT8 = _F(2.82842712)
_P0, _P1, _P2 = _F(1.25331393), _F(1.79443882), _F(2.2316828)
_P3, _P4, _P5 = _F(1.8748369), _F(1.18652041), _F(0.579412811)
_Q1, _Q2, _Q3, _Q4, _Q5 = _F(-0.0492212291), _F(1.17509811), _F(0.114626221), _F(0.369638582), _F(0.00186576249)

# x/(2Φ(x) − 1) = A + s²·B(t)/D(t), s = 2Φ(x) − 1, t = 1 − s², on 0 … 2: 6.8e-8
_A = _F(1.25331422)
_B0, _B1, _B2, _B3 = _F(1.85720622), _F(61.4407267), _F(250.939578), _F(130.237032)
_D1, _D2, _D3, _D4 = _F(57.3959753), _F(451.507346), _F(686.735997), _F(158.006332)


@inlined
def minus_two_log32(u: Float32) -> Float32:
    """−2·ln u for normal u > 0."""
    bits = int32(np.float32(u).view(np.int32) - _ROOT_HALF)
    exponent = float32(int32(bits >> int32(23)))
    mantissa = np.int32(int32(int32(bits & int32(0x7FFFFF)) + _ROOT_HALF)).view(np.float32)
    f = mantissa - float32(1)
    # Estrin's order here and below: the shorter chain matters more than two multiplications.
    f2 = f * f
    p = ((_L0 + _L1 * f) + (_L2 + _L3 * f) * f2) + ((_L4 + _L5 * f) + (_L6 + _L7 * f) * f2) * (f2 * f2)
    return f * p + exponent * _MINUS_TWO_LN2


@inlined
def sin_cos32(x: Float32) -> tuple[Float32, Float32]:
    """sin and cos of π/4·x for x in (−1, 1)."""
    z = x * x
    z2 = z * z
    sine = ((_S0 + _S1 * z) + (_S2 + _S3 * z) * z2) * x
    cosine = (_C0 + _C1 * z) + (_C2 + _C3 * z) * z2
    return sine, cosine


@inlined
def upper_point32(q: Float32) -> Float32:
    """The x ≥ 0 that a standard normal number exceeds with probability q, 2.4e-14 ≤ q ≤ ½, to 1e-6 relative."""
    w = float32(0.5) * minus_two_log32(float32(4) * q * (float32(1) - q))
    t = np.sqrt(w + float32(8)) - _ROOT8
    t2 = t * t
    p = ((_P0 + _P1 * t) + (_P2 + _P3 * t) * t2) + (_P4 + _P5 * t) * (t2 * t2)
    d = ((float32(1) + _Q1 * t) + (_Q2 + _Q3 * t) * t2) + (_Q4 + _Q5 * t) * (t2 * t2)
    return (float32(1) - float32(2) * q) * (p / d)


@inlined
def central_point32(s: Float32) -> Float32:
    """The x in [−2, 2] with 2Φ(x) − 1 = s, to 3e-7 relative."""
    square = s * s
    t = float32(1) - square
    t2 = t * t
    top = (_B0 + _B1 * t) + (_B2 + _B3 * t) * t2
    bottom = (float32(1) + _D1 * t) + ((_D2 + _D3 * t) + _D4 * t2) * t2
    return s * (_A + square * (top / bottom))


@inlined
def with_sign32(x: Float32, sign: Word) -> Float32:
    """x, negated where the top bit of `sign` is set."""
    return np.uint32(uint32(np.float32(x).view(np.uint32) ^ uint32(sign & uint32(0x80000000)))).view(np.float32)
