"""Gaussian expectations of a function, its square and its derivative's square, by adaptive quadrature."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fanin.errors import ArgumentError

Values = NDArray[np.float64]

REACH = 12.0  # beyond ±12 the density is below 3e-32
TOLERANCE = 1e-12  # of one panel's error, as a fraction of all panels together
NARROWEST = 2.0**-34
MOST_PANELS = 20_000
ORDER = 12
INSET = 2.0**-40


def gaussian_expectations(f: Callable[[Values], Values], name: str) -> tuple[float, float, float]:
    """(E[f], E[f²], E[f′²]) for x ~ N(0, 1), to about 1e-9, in 10 digits.

    [−12, 12] is cut into panels, first of width ½, and a panel is halved until both halves agree with it, which
    closes in on kinks and jumps wherever they are. f′ is the derivative of the interpolating polynomial of a
    panel, so it is the derivative almost everywhere: a jump itself adds nothing.

    Raises:
        ArgumentError: the function has values that are not finite, grows so fast that E[f²] is infinite,
            or is too rough or noisy to integrate.
    """
    edges = np.linspace(-REACH, REACH, 49)
    start, width = edges[:-1], np.diff(edges)
    whole = _integrals(f, start, width, name)
    _check_tails(whole, name)
    scale = np.abs(whole).sum(axis=0)
    tolerance = TOLERANCE * np.maximum(scale, 1e-8 * scale[1])
    total = np.zeros(3)
    panels = 0
    while start.size:
        panels += start.size
        if panels > MOST_PANELS:
            raise ArgumentError(f"the gain of {name} does not converge: too rough or noisy (a function in float32 is)")
        start, width, whole, settled = _halve(f, start, width, whole, tolerance, name)
        total += settled
    mean, square, slope = (float(value) for value in total)
    # An odd function's mean is rounding noise, to be measured by the function's size.
    size = sqrt(square)
    return (_steady(round(mean / size, 10) * size) + 0.0 if size else 0.0), _steady(square), _steady(slope)


def _steady(value: float) -> float:
    # The last bits of tanh and exp differ between CPUs; they must not reach the weights.
    return float(f"{value:.10g}")


def _halve(
    f: Callable[[Values], Values], start: Values, width: Values, whole: Values, tolerance: Values, name: str
) -> Any:
    """One round: the panels still to be halved, their integrals, and the sum over the settled ones."""
    starts = np.stack([start, start + width / 2])
    widths = np.stack([width / 2, width / 2])
    halves = _integrals(f, starts.ravel(), widths.ravel(), name).reshape(2, -1, 3)
    done = np.all(np.abs(halves.sum(axis=0) - whole) <= tolerance, axis=1)
    spent = ~done & (width <= NARROWEST)
    # In the narrowest panels f′ is a kink's or a jump's, whose place has measure zero.
    settled = halves[:, done].sum(axis=(0, 1)) + halves[:, spent].sum(axis=(0, 1)) * np.array([1.0, 1.0, 0.0])
    rest = ~done & ~spent
    return starts[:, rest].ravel(), widths[:, rest].ravel(), halves[:, rest].reshape(-1, 3), settled


def _integrals(f: Callable[[Values], Values], start: Values, width: Values, name: str) -> Values:
    """[panels, 3]: ∫fφ, ∫f²φ, ∫f′²φ over each panel."""
    x = start[:, None] + width[:, None] * _NODES
    y = f(x.ravel()).reshape(x.shape)
    if not np.isfinite(y).all():
        raise ArgumentError(f"{name} is not finite at x = {x[~np.isfinite(y)][0]:.6g}, so it has no gain")
    slope = y @ _DERIVATIVE.T / width[:, None]
    mass = width[:, None] * _WEIGHTS * np.exp(-x * x / 2) / np.sqrt(2 * np.pi)
    return np.stack([(mass * part).sum(axis=1) for part in (y, y * y, slope * slope)], axis=1)


def _check_tails(panels: Values, name: str) -> None:
    outermost = np.abs(panels[[0, -1], 1]).max()
    if outermost > 1e-9 * np.abs(panels[:, 1]).sum():
        raise ArgumentError(f"{name} grows too fast: E[f(x)²] for x ~ N(0, 1) is not finite, so it has no gain")


def _rule() -> tuple[Values, Values, Values]:
    """Gauss-Lobatto nodes and weights on [0, 1], and the matrix from values at the nodes to derivatives there.

    The nodes reach to the ends, so that no kink hides between the last node and an end, but not onto them, where a
    function may jump or be singular.
    """
    legendre = np.polynomial.Legendre.basis(ORDER - 1)
    nodes = np.concatenate([[-1.0], np.sort(legendre.deriv().roots().real), [1.0]])
    weights = 1 / (ORDER * (ORDER - 1) * legendre(nodes) ** 2)
    x = (1 + nodes * (1 - INSET)) / 2
    gaps = x[:, None] - x + np.eye(ORDER)
    barycentric = 1 / gaps.prod(axis=1)
    derivative = barycentric / barycentric[:, None] / gaps
    np.fill_diagonal(derivative, 0.0)
    np.fill_diagonal(derivative, -derivative.sum(axis=1))
    return x, weights, derivative


_NODES, _WEIGHTS, _DERIVATIVE = _rule()
