"""How alike two signals are behind an activation: its dual, a power series in their correlation."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from fanin.errors import ArgumentError
from fanin.gains.evaluation import Function
from fanin.gains.expectation import REACH
from fanin.gains.response import Response

Values = NDArray[np.float64]

TERMS = 512
NODES = 16
PANELS = 96  # of width ¼, where the highest Hermite function turns once
NARROWEST = 2.0**-24
TOLERANCE = 1e-12
NEGLIGIBLE = 1e-9  # moments come with ten digits
JUMP = 1e-3
MOST_PANELS = 20_000


@dataclass(frozen=True, slots=True)
class Dual:
    """E[f(u)·f(v)] for u, v ~ N(0, K) with correlation c: Σ a_n²·cⁿ, a_n the coefficients of f(√K·z) in Hermite series.

    All powers are kept up to 512; those above are one, of the exponent that gives the value E[f²] and the slope
    K·E[f′²] at c = 1. For a kinked function (ReLU) this is right to 3e-6 of E[f²], for a smooth one to rounding.

    Attributes:
        powers: a_n².
        rest: what the kept powers lack of E[f²].
        exponent: the power of the rest.

    Source: the dual activation of Daniely, Frostig & Singer 2016 (arXiv:1602.05897), section 4.
    """

    powers: Values
    rest: float
    exponent: float

    def __call__(self, correlation: float) -> float:
        """E[f(u)·f(v)] at a correlation from 0 to 1."""
        return float(self.powers @ correlation**_N) + self.rest * correlation**self.exponent

    def slope(self, correlation: float) -> float:
        """Its derivative, which is K·E[f′(u)·f′(v)]."""
        own = float(self.powers[1:] * _N[1:] @ correlation ** _N[:-1])
        return own + self.rest * self.exponent * correlation ** (self.exponent - 1)


def dual(f: Function, name: str, response: Response) -> Dual:
    """The dual of an activation at the variance of `response`.

    Raises:
        ArgumentError: the function jumps: the slope of its dual at c = 1 is infinite; or it is too rough.

    >>> from fanin.gains.response import response
    >>> relu = dual(lambda x: np.maximum(x, 0), "relu", response("relu"))
    >>> round(relu(1.0), 9), round(relu(0.0) * 2 * np.pi, 9), round(relu.slope(1.0), 9)
    (0.5, 1.0, 0.5)
    """
    width = sqrt(response.variance)
    powers = _coefficients(lambda x: f(width * x), name) ** 2
    rest = response.second_moment - float(powers.sum())
    slope = response.variance * response.slope_second_moment - float(powers @ _N)
    if slope < -JUMP * float(powers @ _N):
        raise ArgumentError(
            f"{name} jumps: signals that are nearly alike come out apart by the jump, whatever the weights, so there "
            "is no χ and no critical line"
        )
    if rest <= NEGLIGIBLE * response.second_moment:
        return Dual(powers, 0.0, float(TERMS))
    return Dual(powers, rest, max(slope / rest, float(TERMS)))


def _coefficients(f: Function, name: str) -> Values:
    """E[f(z)·h_n(z)] with the Hermite polynomials h_n that are orthonormal under N(0, 1)."""
    start, width = _mesh(f, name)
    x = (start[:, None] + width[:, None] * _X).ravel()
    root = np.exp(-x * x / 4) / (2 * np.pi) ** 0.25
    weighted = (width[:, None] * _W).ravel() * root * f(x)
    found = np.empty(TERMS)
    # The functions h_n·√φ stay bounded, the polynomials themselves overflow.
    before, now = np.zeros_like(x), root
    for n in range(TERMS):
        found[n] = weighted @ now
        before, now = now, (x * now - sqrt(n) * before) / sqrt(n + 1)
    return found


def _mesh(f: Function, name: str) -> tuple[Values, Values]:
    """Panels on which f is nearly a polynomial; those around a kink are halved until they are negligible."""
    edges = np.linspace(-REACH, REACH, PANELS + 1)
    start, width = edges[:-1], np.diff(edges)
    done: list[tuple[Values, Values]] = []
    whole = _integrals(f, start, width)
    size, seen = np.abs(whole).sum(axis=0), 0
    while start.size:
        seen += start.size
        if seen > MOST_PANELS:
            raise ArgumentError(f"{name} is too rough or noisy for a correlation map (a function in float32 is)")
        starts, widths = np.stack([start, start + width / 2]), np.stack([width, width]) / 2
        halves = _integrals(f, starts.ravel(), widths.ravel()).reshape(2, -1, 2)
        good = np.all(np.abs(halves.sum(axis=0) - whole) <= TOLERANCE * size, axis=1) | (width <= NARROWEST)
        done.append((start[good], width[good]))
        start, width = starts[:, ~good].ravel(), widths[:, ~good].ravel()
        whole = halves[:, ~good].reshape(-1, 2)
    return np.concatenate([each for each, _ in done]), np.concatenate([each for _, each in done])


def _integrals(f: Function, start: Values, width: Values) -> Values:
    x = start[:, None] + width[:, None] * _X
    y = f(x.ravel()).reshape(x.shape)
    root = np.exp(-x * x / 4)
    mass = width[:, None] * _W * root
    return np.stack([(mass * y).sum(axis=1), (mass * root * y * y).sum(axis=1)], axis=1)


_LEGENDRE = np.polynomial.legendre.leggauss(NODES)
_X: Values = (_LEGENDRE[0] + 1) / 2
_W: Values = _LEGENDRE[1] / 2
_N: Values = np.arange(TERMS, dtype=np.float64)
