"""(E[f], E[f²], E[f′²]) for x ~ N(0, 1) where they are known exactly."""

from __future__ import annotations

from collections.abc import Callable
from math import asin, erfc, exp, pi, sqrt

Moments = tuple[float, float, float]

SELU_SCALE = 1.0507009873554804934193349852946
SELU_ALPHA = 1.6732632423543772848170429916717


def linear() -> Moments:
    """f(x) = x."""
    return 0.0, 1.0, 1.0


def absolute() -> Moments:
    """f(x) = |x|."""
    return sqrt(2 / pi), 1.0, 1.0


def leaky_relu(slope: float = 0.01) -> Moments:
    """f(x) = x for x > 0, slope·x below (He et al. 2015, equation 15)."""
    square = (1 + slope * slope) / 2
    return (1 - slope) / sqrt(2 * pi), square, square


def relu() -> Moments:
    """f(x) = max(x, 0)."""
    return leaky_relu(0.0)


def prelu(slope: float = 0.25) -> Moments:
    """PReLU at its usual starting slope."""
    return leaky_relu(slope)


def relu_squared() -> Moments:
    """f(x) = max(x, 0)²."""
    return 0.5, 1.5, 2.0


def elu(alpha: float = 1.0, scale: float = 1.0) -> Moments:
    """f(x) = scale·(x for x > 0, alpha·(eˣ − 1) below)."""
    one, two = exp(0.5) * _below(1.0), exp(2.0) * _below(2.0)
    mean = 1 / sqrt(2 * pi) + alpha * (one - 0.5)
    square = 0.5 + alpha * alpha * (two - 2 * one + 0.5)
    return scale * mean, scale * scale * square, scale * scale * (0.5 + alpha * alpha * two)


def selu() -> Moments:
    """`elu` with the constants of Klambauer et al. 2017, for which E[f] = 0 and E[f²] = 1."""
    return elu(SELU_ALPHA, SELU_SCALE)


def gelu() -> Moments:
    """f(x) = x·Φ(x)."""
    return 1 / (2 * sqrt(pi)), 1 / 3 + 1 / (2 * pi * sqrt(3)), 1 / 3 + 2 / (3 * pi * sqrt(3))


def erf() -> Moments:
    """f(x) = erf(x)."""
    return 0.0, 2 / pi * asin(2 / 3), 4 / (pi * sqrt(5))


def sin(omega: float = 1.0) -> Moments:
    """f(x) = sin(ωx)."""
    decay = exp(-2 * omega * omega)
    return 0.0, (1 - decay) / 2, omega * omega * (1 + decay) / 2


def cos(omega: float = 1.0) -> Moments:
    """f(x) = cos(ωx)."""
    decay = exp(-2 * omega * omega)
    return exp(-omega * omega / 2), (1 + decay) / 2, omega * omega * (1 - decay) / 2


def _below(sigmas: float) -> float:
    return erfc(sigmas / sqrt(2)) / 2


EXACT: dict[str, Callable[..., Moments]] = {
    "abs": absolute,
    "cos": cos,
    "elu": elu,
    "erf": erf,
    "gelu": gelu,
    "leaky_relu": leaky_relu,
    "linear": linear,
    "prelu": prelu,
    "relu": relu,
    "relu_squared": relu_squared,
    "selu": selu,
    "sin": sin,
}

PARAMETRIC = frozenset({"cos", "elu", "leaky_relu", "prelu", "sin"})
