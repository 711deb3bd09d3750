"""The edge of chaos: all weights and biases with χ = 1 at the fixed point of the variance they give."""

from __future__ import annotations

from collections.abc import Callable
from math import exp, log, sqrt

from fanin.errors import ArgumentError
from fanin.gains.fixed_points import SAME, Measured
from fanin.gains.operating import root

Point = tuple[float, float]
Branch = tuple[Point, ...]

_LOW, _HIGH, _STEPS = 1e-8, 1e2, 120
_ROUNDING = 1e-6


def critical_line(measured: Measured) -> tuple[Branch, ...]:
    """(σ_w, σ_b) with χ₁ = σ_w²·E[f′(√q z)²] = 1 and q = σ_w²·E[f(√q z)²] + σ_b² stable, along growing q.

    Each q from 1e-8 to 100 has one such pair, or none where it would need σ_b² < 0 or q were unstable, which parts
    the line into branches. ReLU and its kin have one pair for all q; sigmoid begins at a bias that is not 0.

    Source: Poole et al. 2016 (arXiv:1606.05340), figure 1; Schoenholz et al. 2017 (arXiv:1611.01232), figure 1.

    >>> from fanin.gains.response import response
    >>> [[(round(w, 4), b) for w, b in branch] for branch in critical_line(lambda q: response("relu", q))]
    [[(1.4142, 0.0)]]
    """
    branches: list[list[Point]] = [[]]
    for log_variance in _grid():
        point = _point(measured, log_variance)
        if point is None:
            branches.append([])
        elif not (branches[-1] and _same(point, branches[-1][-1])):
            branches[-1].append(point)
    return tuple(tuple(branch) for branch in branches if branch)


def critical_weights(measured: Measured, bias_variance: float) -> float | None:
    """σ_w with χ₁ = 1 at this σ_b², that of the least q where there are several; None if there is none.

    >>> from fanin.gains.response import response
    >>> round(critical_weights(lambda q: response("tanh", q), 0.05) ** 2, 3)
    1.761
    """

    def lacking(log_variance: float) -> float:
        return _biases(measured, exp(log_variance))[1] - bias_variance

    grid = _grid()
    seen = [_or_nothing(lacking, x) for x in grid]
    for low, high, before, after in zip(grid, grid[1:], seen, seen[1:], strict=False):
        if before is None or after is None:
            continue
        if abs(before) <= _ROUNDING * exp(low):  # ReLU and its kin need no bias at any q
            point = _point(measured, low)
            if point is not None:
                return point[0]
        if before * after < 0:
            found = root(lacking, low, high)
            if found is not None and _point(measured, found) is not None:
                return sqrt(_biases(measured, exp(found))[0])
    return None


def _or_nothing(f: Callable[[float], float], x: float) -> float | None:
    try:
        return f(x)
    except ArgumentError:  # the activation cannot be measured at this scale
        return None


def _grid() -> list[float]:
    return [log(_LOW) + step * log(_HIGH / _LOW) / _STEPS for step in range(_STEPS + 1)]


def _biases(measured: Measured, variance: float) -> Point:
    """(σ_w², σ_b²) that make χ₁ = 1 and q a fixed point."""
    there = measured(variance)
    if not there.slope_second_moment > 0:
        return 0.0, -1.0
    weights = 1 / there.slope_second_moment
    return weights, variance - weights * there.second_moment


def _point(measured: Measured, log_variance: float) -> Point | None:
    variance = exp(log_variance)
    try:
        weights, biases = _biases(measured, variance)
    except ArgumentError:  # the activation cannot be measured at this scale
        return None
    if biases < -_ROUNDING * variance:
        return None
    there = measured(variance)
    if weights * there.second_moment * there.growth / variance > 1 + SAME:
        return None
    return sqrt(weights), sqrt(biases) if biases > _ROUNDING * variance else 0.0


def _same(one: Point, other: Point) -> bool:
    return all(abs(a - b) < 1e-9 for a, b in zip(one, other, strict=True))
