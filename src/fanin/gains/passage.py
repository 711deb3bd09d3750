"""What depth does to a pair of signals: layer after layer through the maps of variance and correlation."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isfinite

from fanin.errors import ArgumentError
from fanin.gains.fixed_points import VarianceMap
from fanin.gains.medium import Medium

_TOO_LARGE = 1e12
_TOO_SMALL = 1e-12


@dataclass(frozen=True, slots=True)
class Layer:
    """Pre-activations of one layer.

    Attributes:
        number: 1 for the first layer.
        variance: q, their second moment.
        correlation: c, of the pre-activations of two inputs.
        gradient: by how much Σg² shrinks or grows from the last layer back to this one, Π χ.
    """

    number: int
    variance: float
    correlation: float
    gradient: float


def passed_on(medium: Medium, variance: VarianceMap, q: float, c: float) -> float:
    """The correlation behind one layer: c′ = (σ_w²·E[f(u)·f(v)] + σ_b²)/q′ for u, v ~ N(0, q) of correlation c.

    Source: Poole et al. 2016 (arXiv:1606.05340), equation 5, with both signals of the same q.
    """
    return (variance.weight_variance * medium.dual(q)(c) + variance.bias_variance) / variance(q)


def slope_of(medium: Medium, variance: VarianceMap, q: float, c: float) -> float:
    """dc′/dc = σ_w²·q·E[f′(u)·f′(v)]/q′, which at a fixed point q and c = 1 is χ₁."""
    return variance.weight_variance * medium.dual(q).slope(c) / variance(q)


def passage(medium: Medium, variance: VarianceMap, depth: int, correlation: float) -> tuple[Layer, ...]:
    """The layers of a network of this depth whose inputs have E[x²] = 1 and this correlation; it ends where q does.

    Raises:
        ArgumentError: a depth below 1, or a correlation that is not from 0 to 1.
    """
    if depth < 1 or not 0 <= correlation <= 1:
        raise ArgumentError(f"depth must be at least 1 and correlation from 0 to 1, got {depth} and {correlation}")
    q = variance.start
    c = (variance.weight_variance * correlation + variance.bias_variance) / q
    seen: list[tuple[float, float, float]] = []
    for _ in range(depth):
        seen.append((q, c, variance.weight_variance * medium.response(q).slope_second_moment))
        c = min(1.0, passed_on(medium, variance, q, c))
        q = float(f"{variance(q):.12g}")
        if not _TOO_SMALL < q < _TOO_LARGE:
            break
    gradients = [1.0]
    for _, _, chi in reversed(seen[:-1]):
        gradients.append(gradients[-1] * chi if isfinite(gradients[-1]) else inf)
    return tuple(
        Layer(number, q, c, gradient)
        for number, ((q, c, _), gradient) in enumerate(zip(seen, reversed(gradients), strict=True), 1)
    )
