"""The mean-field view of an activation."""

from __future__ import annotations

from collections.abc import Callable
from math import exp, inf, isfinite, log, sqrt
from typing import Any

from fanin.errors import ArgumentError
from fanin.gains.critical import critical_of
from fanin.gains.critical_line import critical_line, critical_weights
from fanin.gains.fixed_points import SAME, FixedPoint, VarianceMap
from fanin.gains.medium import Medium
from fanin.gains.operating import root
from fanin.gains.passage import passed_on, slope_of
from fanin.mean_field.view import ActivationView, Phase

SURVIVES = 6.0
_EDGE = 1e-9
_MAP_POINTS = 49
_NEAR_ZERO, _LARGE = 1e-6, 1e4


def activation(
    function: str | Callable[..., Any],
    parameter: float | None = None,
    *,
    weight_std: float | None = None,
    bias_std: float | None = None,
) -> ActivationView:
    """What deep random networks of this activation do to signals and gradients, in the limit of wide layers.

    Weights W ~ N(0, σ_w²/fan_in) and biases b ~ N(0, σ_b²). The second moment of pre-activations follows
    q′ = σ_w²·E[f(√q z)²] + σ_b² to a fixed point q*, the correlation of two signals
    c′ = (σ_w²·E[f(u)·f(v)] + σ_b²)/q′ to a fixed point c*. χ₁ = σ_w²·E[f′(√q* z)²], the slope of the latter map at
    c = 1, is the factor on the second moment of gradients per layer: below 1 the network is ordered (gradients vanish,
    signals become alike), above 1 chaotic (gradients explode, alike signals part), at 1 critical. Differences between
    signals fade as e^(−depth/ξ_c), ξ_c = −1/ln χ at c*; networks train up to a depth of about 6·ξ_c.

    Args:
        function: a name (`fanin.gains.activation_names()`), or any elementwise callable of an array, tensor or float.
        parameter: the activation's number (slope, alpha, beta, ω); the second argument of a callable.
        weight_std: σ_w, √fan_in times the weights' std. By default σ_w and σ_b are the activation's critical point,
            with biases given the critical σ_w for them; without one, what keeps E[f(z)²] of unit pre-activations.
        bias_std: σ_b, the biases' std; 0 where only `weight_std` is given.

    Raises:
        UnknownNameError: no activation of that name.
        ArgumentError: a std that is negative or not finite; no critical σ_w for this σ_b; a function that is not
            elementwise, not finite, jumps, or passes nothing on.

    Source: Poole et al. 2016 (arXiv:1606.05340); Schoenholz et al. 2017 (arXiv:1611.01232).

    >>> tanh = activation("tanh", weight_std=1.3, bias_std=0.3)
    >>> tanh.phase, round(tanh.variance, 4), round(tanh.chi, 4), round(tanh.correlation_length, 2)
    ('ordered', 0.607, 0.9398, 16.11)
    >>> relu = activation("relu")
    >>> round(relu.weight_std, 6), relu.bias_std, relu.phase, relu.survives
    (1.414214, 0.0, 'critical', inf)
    """
    medium = Medium.of(function, parameter)
    _check(weight_std, bias_std)
    if not medium.response(1.0).second_moment:
        raise ArgumentError(f"{medium.name} is 0 everywhere: no signal passes it")
    weights, biases = _chosen(medium, weight_std, bias_std)
    variance = VarianceMap(medium.response, weights, biases)
    settled = variance.settled()
    at = _measurable(variance, settled.variance)
    # This also finds out what has no correlation map, before χ is told.
    at_one = slope_of(medium, variance, at, 1.0)
    chi = weights * medium.response(at).slope_second_moment
    correlation = _correlation(medium, variance, at, at_one)
    fades = chi if settled.variance == 0 else slope_of(medium, variance, at, correlation)
    length = inf if settled.variance == inf else _length(fades)
    return ActivationView(
        name=medium.name,
        parameter=parameter,
        weight_std=sqrt(weights),
        bias_std=sqrt(biases),
        phase=_phase(chi),
        chi=chi,
        variance=settled.variance,
        variance_length=inf if settled.variance == inf else _length(abs(settled.slope)),
        fixed_points=variance.fixed_points(),
        correlation=correlation,
        correlation_length=length,
        survives=SURVIVES * (_growth_length(settled) if settled.variance == inf else length),
        critical_weight_std=critical_weights(medium.response, biases),
        critical_line=critical_line(medium.response),
        variance_map=_variance_points(variance, at),
        correlation_map=tuple(
            (c, passed_on(medium, variance, at, c)) for c in (step / (_MAP_POINTS - 1) for step in range(_MAP_POINTS))
        ),
        medium=medium,
    )


def _check(weight_std: float | None, bias_std: float | None) -> None:
    if weight_std is not None and not 0 < weight_std < inf:
        raise ArgumentError(f"weight_std must be a positive number, got {weight_std}")
    if bias_std is not None and not 0 <= bias_std < inf:
        raise ArgumentError(f"bias_std must be a number that is not negative, got {bias_std}")


def _chosen(medium: Medium, weight_std: float | None, bias_std: float | None) -> tuple[float, float]:
    """σ_w² and σ_b²."""
    if weight_std is not None:
        return weight_std**2, (bias_std or 0.0) ** 2
    if bias_std is None:
        point = critical_of(medium.response, medium.name)
        return point.weight_variance, point.bias_variance
    critical = critical_weights(medium.response, bias_std**2)
    if critical is None:
        raise ArgumentError(f"{medium.name} has no critical weights with bias_std={bias_std:g}: give weight_std too")
    return critical**2, bias_std**2


def _measurable(variance: VarianceMap, q: float) -> float:
    """A variance at which a signal that dies out or grows without bound can be measured."""
    if 0 < q < inf:
        return q
    for each in (_NEAR_ZERO, 1e-3) if q == 0 else (_LARGE, 1e2):
        try:
            variance.measured(each)
        except ArgumentError:  # too rough, or lost in its own rounding, at this scale
            continue
        return each
    return variance.start


def _correlation(medium: Medium, variance: VarianceMap, q: float, at_one: float) -> float:
    """c*: 1, unless the map's slope there is above 1: then the one other fixed point of a map that bends upwards."""
    if at_one <= 1 + SAME:
        return 1.0
    if variance.weight_variance * medium.dual(q)(0.0) + variance.bias_variance <= _EDGE * q:
        return 0.0
    found = root(lambda c: passed_on(medium, variance, q, c) - c, 0.0, 1 - _EDGE)
    return 1.0 if found is None else found


def _phase(chi: float) -> Phase:
    if abs(chi - 1) <= SAME:
        return "critical"
    return "ordered" if chi < 1 else "chaotic"


def _length(factor: float) -> float:
    """The depth in which what has this factor per layer falls to 1/e; infinite where it changes by less than 1e-4."""
    if factor >= 1 - SAME:
        return inf
    return -1 / log(factor) if factor > 0 else 0.0


def _growth_length(point: FixedPoint) -> float:
    return 1 / log(point.slope) if isfinite(point.slope) and point.slope > 1 + SAME else inf


def _variance_points(variance: VarianceMap, q: float) -> tuple[tuple[float, float], ...]:
    """(q, q′) over two decades on both sides of q*."""
    steps = [q * exp(log(10) * (step / 12 - 2)) for step in range(_MAP_POINTS)]
    points: list[tuple[float, float]] = []
    for each in steps:
        try:
            points.append((each, variance(each)))
        except ArgumentError:  # the activation cannot be measured at this scale
            continue
    return tuple(points)
