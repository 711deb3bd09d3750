"""Where neither the signal nor its gradient grows or shrinks with depth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import exp, log
from typing import Literal

from fanin.errors import ArgumentError
from fanin.gains.operating import root
from fanin.gains.response import Response, response

Kind = Literal["any scale", "fixed point", "vanishing", "none"]

_SMALL, _FIRST, _LARGE = 1e-10, 1e-3, 1e3
_SCANNED = 24
_SAME, _CLOSE = 1e-6, 1e-3
_LEFT = 0.7
_CACHED = 256


@dataclass(frozen=True, slots=True)
class CriticalPoint:
    """The weights and biases under which χ = 1, and the second moment K of pre-activations that they keep.

    Attributes:
        kind: "any scale" (ReLU's family: every K is kept), "fixed point" (K is kept, for small deviations),
            "vanishing" (K falls slowly towards 0, where χ = 1), "none" (no such weights).
        variance: K.
        weight_variance: σ_w², variance of the weights times their fan-in.
        bias_variance: σ_b².
        growth: χ∥, the factor on a small deviation of K per layer.
        chi: χ⊥, the factor on the second moment of gradients per layer.

    >>> gelu = critical_point("gelu")
    >>> gelu.kind, round(gelu.weight_variance, 5), round(gelu.bias_variance, 5), gelu.chi
    ('fixed point', 1.98306, 0.17292, 1.0)
    """

    kind: Kind
    variance: float
    weight_variance: float
    bias_variance: float
    growth: float
    chi: float


def critical_point(
    activation: str, parameter: float | None = None, *, variance: float = 0.0, layers: int = 50
) -> CriticalPoint:
    """(σ_w², σ_b²) with χ = 1 and the second moment K that they keep, where such a point exists.

    Conditions: K = σ_b² + σ_w²·E[f(z)²], χ⊥ = σ_w²·E[f′(z)²] = 1 for z ~ N(0, K), and σ_b² ≥ 0; where the choice is
    free also χ∥ = σ_w²·dE[f(z)²]/dK = 1. GELU, SiLU, Mish and hardswish have one such K, stable from below only
    ("half-stable"). Tanh, sin, erf, ELU and SELU have it at K → 0: their signal falls by a power of the depth, and K is
    chosen so small that `layers` layers leave at least 70 % of it.

    Args:
        activation: a name (`activation_names()`).
        parameter: the activation's number.
        variance: the K wanted instead, kept with the help of biases (the edge of chaos of tanh); 0 for the above.
        layers: depth for the "vanishing" kind.

    Raises:
        UnknownNameError, ArgumentError: as `response`; `variance` negative, or impossible as it needs σ_b² < 0.

    Source: Roberts, Yaida & Hanin 2022, "The Principles of Deep Learning Theory" (arXiv 2106.10165), chapter 5, with
    (σ_b², σ_w²) = (0.17292, 1.98305) for GELU and (0.55514, 1.98800) for SiLU; the edge of chaos by Poole et al. 2016
    (arXiv 1606.05340) and Schoenholz et al. 2017 (arXiv 1611.01232).

    >>> silu = critical_point("silu")
    >>> silu.kind, round(silu.variance, 3), round(silu.weight_variance, 5), round(silu.bias_variance, 5)
    ('fixed point', 14.32, 1.988, 0.55514)
    >>> critical_point("relu").weight_variance, critical_point("tanh").kind, critical_point("sigmoid").kind
    (2.0, 'vanishing', 'none')
    """
    if not 0 <= variance < float("inf") or layers < 1:
        raise ArgumentError(
            f"critical_point: variance must not be negative and layers at least 1, got {variance}, {layers}"
        )
    return _critical(activation, parameter, float(variance), layers)


@lru_cache(_CACHED)
def _critical(activation: str, parameter: float | None, variance: float, layers: int) -> CriticalPoint:
    return critical_of(lambda each: response(activation, each, parameter), activation, variance, layers)


def critical_of(
    measured: Callable[[float], Response], name: str, variance: float = 0.0, layers: int = 50
) -> CriticalPoint:
    """`critical_point` of anything that has a response at every variance."""

    def at(log_variance: float) -> Response:
        return measured(exp(log_variance))

    try:
        ends = [at(log(_SMALL)), at(log(_LARGE))]
    except ArgumentError:  # flat at 0, as x − tanh x: too small for its own rounding
        ends = [at(0.0)] * 2
    if all(abs(x - 1) < _SAME for end in ends for x in (end.growth, end.steady_chi)):
        return _kept(name, at(log(variance) if variance else 0.0), "any scale")
    if variance:
        return _kept(name, measured(variance), "fixed point")
    crossing = _crossing(at)
    if crossing is not None:
        return _kept(name, crossing, "fixed point")
    if all(abs(x - 1) < _CLOSE for x in (ends[0].growth, ends[0].steady_chi)):
        return _vanishing(at, 1 / ends[0].slope_second_moment, layers)
    unit = at(0.0)
    return CriticalPoint("none", 1.0, 1 / unit.second_moment, 0.0, unit.growth, unit.steady_chi)


def _kept(activation: str, point: Response, kind: Kind) -> CriticalPoint:
    """χ⊥ = 1 at this K, by σ_w² = 1/S and what biases must add."""
    weights = 1 / point.slope_second_moment
    biases = point.variance - weights * point.second_moment
    if biases < -_SAME * point.variance:
        raise ArgumentError(
            f"{activation} cannot keep a second moment of {point.variance:g} with χ = 1: it would need biases of "
            f"variance {biases:.4g}"
        )
    biases = 0.0 if biases < _SAME * point.variance else biases
    growth = point.growth / point.steady_chi
    return CriticalPoint(kind, point.variance, _nine(weights), _nine(biases), _nine(growth), 1.0)


def _crossing(at: Callable[[float], Response]) -> Response | None:
    """The K where χ∥ = χ⊥ for any weights, coming from χ∥ > χ⊥, if biases there are not below 0."""

    def excess(log_variance: float) -> float:
        point = at(log_variance)
        return point.growth - point.steady_chi

    grid = [log(_FIRST) + step * (log(_LARGE) - log(_FIRST)) / _SCANNED for step in range(_SCANNED + 1)]
    seen = [excess(x) for x in grid]
    for low, high, before, after in zip(grid, grid[1:], seen, seen[1:], strict=False):
        if before > _SAME and after < -_SAME:
            found = root(excess, low, high)
            point = None if found is None else at(log(_nine(exp(found))))
            if point is not None and point.steady_chi >= 1:
                return point
    return None


def _vanishing(at: Callable[[float], Response], weights: float, layers: int) -> CriticalPoint:
    """K at most 1 of which `layers` layers with these weights leave at least `_LEFT`."""

    def excess(log_variance: float) -> float:
        lost = log_variance - log(weights * at(log_variance).second_moment)
        return lost * layers + log(_LEFT)

    found = root(excess, log(_SMALL), 0.0)
    point = at(0.0 if found is None else log(_nine(exp(found))))
    growth = point.growth * weights * point.second_moment / point.variance
    kind: Kind = "any scale" if found is None else "vanishing"
    return CriticalPoint(kind, point.variance, _nine(weights), 0.0, _nine(growth), _nine(point.chi(weights)))


def _nine(value: float) -> float:
    # The last bits of tanh and exp differ between CPUs.
    return float(f"{value:.9g}")
