"""Which second moments of pre-activations a layer gives back: the fixed points of its variance map."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from math import exp, inf, log
from typing import Literal

from fanin.errors import ArgumentError
from fanin.gains.response import Response

Kind = Literal["stable", "unstable", "half-stable", "any scale"]
Measured = Callable[[float], Response]

_REACHES = (1e8, 1e6, 1e4, 1e2, 1e1, 2.0)
_SMALLEST = (1e-10, 1e-6, 1e-3)
_PER_DECADE = 24
SAME = 1e-4  # relative change in a layer; what changes less takes ten thousand layers
_PASSES_ZERO = 0.5
_NEAR = 0.01  # on a grid of this width, no touching point is further off
_GOLDEN = 0.6180339887498949


@dataclass(frozen=True, slots=True)
class FixedPoint:
    """A second moment q of pre-activations with q = σ_w²·E[f(√q z)²] + σ_b².

    Attributes:
        variance: q; 0 for a signal that dies out, infinity for one that grows without bound.
        slope: dq′/dq there, the factor on a small deviation per layer (at 0 and infinity: on the signal itself).
        kind: "stable", "unstable", "half-stable" (from one side), "any scale" (every q is one).
    """

    variance: float
    slope: float
    kind: Kind


@dataclass(frozen=True, slots=True)
class VarianceMap:
    """From the second moment q of one layer's pre-activations to that of the next: σ_w²·E[f(√q z)²] + σ_b².

    Source: Poole et al. 2016 (arXiv:1606.05340), equation 3.
    """

    measured: Measured
    weight_variance: float
    bias_variance: float

    def __call__(self, variance: float) -> float:
        """q′ for q > 0."""
        return self.weight_variance * self.measured(variance).second_moment + self.bias_variance

    def slope(self, variance: float) -> float:
        """dq′/dq, which is e^(−1/ξ_q) at a fixed point (Schoenholz et al. 2017)."""
        there = self.measured(variance)
        return self.weight_variance * there.second_moment * there.growth / variance

    @property
    def start(self) -> float:
        """q of the first layer, of inputs with E[x²] = 1."""
        return self.weight_variance + self.bias_variance

    def fixed_points(self) -> tuple[FixedPoint, ...]:
        """All between the least and the largest variance at which the activation can be measured, in order."""
        grid = self._grid()
        seen = [self._excess(x) for x in grid]
        if all(abs(each) < SAME for each in seen):
            return (FixedPoint(self.start, 1.0, "any scale"),)
        inner = [*self._crossings(grid, seen), *self._touched(grid, seen)]
        return (*self._at_zero(exp(grid[0])), *sorted(inner, key=lambda point: point.variance), *_at_infinity(seen))

    def settled(self) -> FixedPoint:
        """The one that inputs with E[x²] = 1 run into.

        A half-stable one is preferred to another from which no real depth parts it (GELU at its critical point).
        """
        points = self.fixed_points()
        reached = self._reached(points)
        for point in points:
            if point.kind == "half-stable" and 0 < reached.variance < inf and self._joined(point, reached):
                return point
        return reached

    def _reached(self, points: tuple[FixedPoint, ...]) -> FixedPoint:
        if len(points) == 1:
            return points[0]
        excess = self._excess(log(self.start))
        if abs(excess) < 1e-9:
            return min(points, key=lambda point: abs(point.variance - self.start))
        if excess > 0:
            return next((point for point in points if point.variance > self.start), points[-1])
        return next((point for point in reversed(points) if point.variance < self.start), points[0])

    def _joined(self, one: FixedPoint, other: FixedPoint) -> bool:
        low, high = sorted((log(one.variance), log(other.variance)))
        return all(abs(self._excess(low + step * (high - low) / 8)) < SAME / 10 for step in range(9))

    def _excess(self, log_variance: float) -> float:
        passed = self(exp(log_variance))
        return log(passed) - log_variance if passed > 0 else -inf

    def _grid(self) -> list[float]:
        low, high = (self._usable(ends) for ends in (_SMALLEST, _REACHES))
        steps = round(log(high / low) / log(10) * _PER_DECADE)
        return [log(low) + step * log(high / low) / steps for step in range(steps + 1)]

    def _usable(self, variances: tuple[float, ...]) -> float:
        for each in variances[:-1]:
            try:
                if self.measured(each).second_moment > 0:
                    return each
            except ArgumentError:  # too steep, too rough, or lost in its own rounding, at this scale
                continue
        self.measured(variances[-1])
        return variances[-1]

    def _crossings(self, grid: list[float], seen: list[float]) -> list[FixedPoint]:
        found: list[FixedPoint] = []
        for (low, before), (high, after) in pairwise(zip(grid, seen, strict=True)):
            if (before > 0) != (after > 0) and max(abs(before), abs(after)) > 1e-9:
                place = _crossed(self._excess, low, high)
                slope = self.slope(exp(place))
                # The line q′ = q is crossed downwards at a stable one; a slope below −1 swings to and fro.
                found.append(FixedPoint(exp(place), slope, "stable" if before > 0 and slope > -1 else "unstable"))
        return found

    def _touched(self, grid: list[float], seen: list[float]) -> list[FixedPoint]:
        """Where the map touches q′ = q without crossing it."""
        found: list[FixedPoint] = []
        for place in range(1, len(grid) - 1):
            near = [abs(each) for each in seen[place - 1 : place + 2]]
            same = seen[place - 1] * seen[place + 1] > 0 and seen[place] * seen[place + 1] > 0
            if same and near[1] < min(_NEAR, near[0] - 1e-9, near[2] - 1e-9):
                least = _lowest(lambda x: abs(self._excess(x)), grid[place - 1], grid[place + 1])
                if abs(self._excess(least)) < SAME / 10:
                    found.append(FixedPoint(exp(least), self.slope(exp(least)), "half-stable"))
        return found

    def _at_zero(self, small: float) -> list[FixedPoint]:
        """q = 0, where no bias feeds it and f(0) = 0."""
        if self.bias_variance or self.measured(small).growth < _PASSES_ZERO:
            return []
        slope = self(small) / small
        return [FixedPoint(0.0, slope, _by(slope))]


def _at_infinity(seen: list[float]) -> list[FixedPoint]:
    return [FixedPoint(inf, exp(min(seen[-1], 700.0)), "stable")] if seen[-1] > 0 else []


def _by(slope: float) -> Kind:
    # A smooth function's second-order term bends a slope of 1 down: tanh at (1, 0).
    return "stable" if slope <= 1 + 1e-9 else "unstable"


def _crossed(f: Callable[[float], float], low: float, high: float) -> float:
    """Where f changes its sign, by bisection: where f is flat, false position creeps."""
    below = f(low) < 0
    for _ in range(45):
        middle = (low + high) / 2
        low, high = (middle, high) if (f(middle) < 0) == below else (low, middle)
    return (low + high) / 2


def _lowest(f: Callable[[float], float], low: float, high: float) -> float:
    """Where f is least between `low` and `high`, by golden sections."""
    for _ in range(60):
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        low, high = (low, right) if f(left) < f(right) else (left, high)
    return (low + high) / 2
