"""At what variance of pre-activations an activation is used."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import exp, log

from fanin.gains.response import Response, response

_LOWEST, _HIGHEST = 1 / 64, 64.0
_CACHED = 1024
_PRECISE = 1e-12


def operating_point(activation: str, parameter: float | None = None) -> Response:
    """The response of an activation at the variance K of pre-activations where E[f(z)²] = 1; at K = 1 if there is none.

    Weights of variance K/fan-in that read a second moment of 1 then pass on a second moment of 1. Bounded functions
    such as tanh never reach it: they are used at unit variance, and the next weights must make up for what is lost.

    Args:
        activation: a name (`activation_names()`).
        parameter: the activation's number.

    Raises:
        UnknownNameError, ArgumentError: as `response`.

    >>> operating_point("relu").variance, round(operating_point("gelu").variance, 6), operating_point("tanh").variance
    (2.0, 2.155057, 1.0)
    """
    return _at(activation, parameter, 0.0)


def gated_point(activation: str, parameter: float | None = None) -> Response:
    """The response of a gate's activation at the variance K of gate and value alike where their product has E[·²] = 1.

    In f(g)·u with independent g, u ~ N(0, K) the second moment is E[f(g)²]·K.

    Args:
        activation: of the gate (SiLU in SwiGLU, GELU in GEGLU, sigmoid in GLU); "linear" for a bilinear product.
        parameter: the activation's number.

    Raises:
        UnknownNameError, ArgumentError: as `response`.

    Source: the products of Shazeer 2020 (arXiv 2002.05202).

    >>> swiglu = gated_point("silu")
    >>> round(swiglu.variance, 6), round(swiglu.variance * swiglu.second_moment, 7), gated_point("linear").variance
    (1.609895, 1.0, 1.0)
    """
    return _at(activation, parameter, 1.0)


@lru_cache(_CACHED)
def _at(activation: str, parameter: float | None, power: float) -> Response:
    """Where ln(M·K^power) = 0, if that is between the ends."""

    def excess(log_variance: float) -> float:
        return log(response(activation, exp(log_variance), parameter).second_moment) + power * log_variance

    found = root(excess, log(_LOWEST), log(_HIGHEST))
    # Nine digits: the last bits of tanh and exp differ between CPUs.
    return response(activation, 1.0 if found is None else float(f"{exp(found):.9g}"), parameter)


def root(f: Callable[[float], float], low: float, high: float) -> float | None:
    """Where f crosses 0 between `low` and `high`, by false position (Illinois); None without a change of sign.

    >>> round(root(lambda x: x * x - 2, 0.0, 2.0), 9)
    1.414213562
    """
    at_low, at_high = f(low), f(high)
    if at_low * at_high > 0:
        return None
    for _ in range(100):
        if at_low == at_high:
            return low
        x = high - at_high * (high - low) / (at_high - at_low)
        value = f(x)
        if abs(value) < _PRECISE or abs(high - low) < _PRECISE:
            return x
        if value * at_high < 0:
            low, at_low = high, at_high
        else:
            at_low /= 2
        high, at_high = x, value
    return high
