"""Makes the coefficients of fanin/random/kernels/math32.py again and states their errors.

    python bench/fill_polynomials.py

Minimax fits of the relative error by Lawson's reweighted least squares (for the rational one with the denominator of
the last step, after Sanathanan and Koerner), from 40-digit values.
"""

from __future__ import annotations

from collections.abc import Callable

import mpmath
import numpy as np
from numpy.polynomial import Chebyshev, Polynomial

POINTS, STEPS = 2500, 800


def minimax(
    x: np.ndarray, y: np.ndarray, weight: np.ndarray, top: int, bottom: int = 0
) -> tuple[Polynomial, Polynomial, float]:
    """Polynomials P, Q of these degrees with least max |P/Q − y|·weight at x."""
    domain = [x.min(), x.max()]
    scaled = (2 * x - domain[0] - domain[1]) / (domain[1] - domain[0])
    powers = np.polynomial.chebyshev.chebvander(scaled, max(top, bottom))
    importance, below = np.full(x.size, 1 / x.size), np.ones(x.size)
    best = np.inf, np.zeros(0)
    for step in range(STEPS):
        scale = np.sqrt(importance) * weight / np.abs(below)
        columns = np.hstack([powers[:, : top + 1], -y[:, None] * powers[:, 1 : bottom + 1]])
        found = np.linalg.lstsq(columns * scale[:, None], y * scale, rcond=None)[0]
        below = 1 + powers[:, 1 : bottom + 1] @ found[top + 1 :]
        error = np.abs(powers[:, : top + 1] @ found[: top + 1] / below - y) * weight
        if below.min() > 0 and error.max() < best[0]:
            best = float(error.max()), found
        if step > 5 or not bottom:
            importance = importance * error + 1e-300
            importance /= importance.sum()
    p = Chebyshev(best[1][: top + 1], domain=domain).convert(kind=Polynomial)
    q = Chebyshev(np.r_[1.0, best[1][top + 1 :]], domain=domain).convert(kind=Polynomial)
    return p / q(0.0), q / q(0.0), best[0]


def nodes(first: float, last: float) -> np.ndarray:
    """Chebyshev's points."""
    return (first + last) / 2 + (last - first) / 2 * np.cos(np.pi * (np.arange(POINTS) + 0.5) / POINTS)


def values(function: Callable[[mpmath.mpf], mpmath.mpf], x: np.ndarray) -> np.ndarray:
    return np.array([float(function(mpmath.mpf(float(point)))) for point in x])


def show(name: str, fit: tuple[Polynomial, Polynomial, float]) -> None:
    p, q, error = fit
    print(f"{name}: error {error:.2g}")
    for letter, polynomial in (("P", p), ("Q", q)):
        if polynomial.degree() or letter == "P":
            print(f"  {letter}", *(f"{c:.9g}" for c in polynomial.coef))


def logarithm() -> tuple[Polynomial, Polynomial, float]:
    f = nodes(0.5**0.5 - 1, 2**0.5 - 1)
    y = values(lambda t: -2 * mpmath.log1p(t) / t, f)
    return minimax(f, y, 1 / np.abs(y), 7)


def sine() -> tuple[Polynomial, Polynomial, float]:
    z = nodes(0, 1)
    return minimax(z, values(lambda t: mpmath.sin(mpmath.pi / 4 * mpmath.sqrt(t)) / mpmath.sqrt(t), z), 1 + 0 * z, 3)


def cosine() -> tuple[Polynomial, Polynomial, float]:
    z = nodes(0, 1)
    return minimax(z, values(lambda t: mpmath.cos(mpmath.pi / 4 * mpmath.sqrt(t)), z), 1 + 0 * z, 3)


def upper_point() -> tuple[Polynomial, Polynomial, float]:
    """x/(1 − 2q) in √(w + 8) − √8, w = −ln(4q(1 − q)), at points x from 0 to where w = 30."""
    x = nodes(0, 7.5503)
    q = [mpmath.erfc(mpmath.mpf(float(point)) / mpmath.sqrt(2)) / 2 for point in x]
    t = np.array([float(mpmath.sqrt(8 - mpmath.log(4 * tail * (1 - tail)))) for tail in q]) - float(np.float32(8**0.5))
    y = np.array([float(point / (1 - 2 * tail)) for point, tail in zip(x, q, strict=True)])
    return minimax(t, y, 1 / y, 5, 5)


def central_point() -> tuple[Polynomial, Polynomial, float]:
    """x/s in t = 1 − s², s = 2Φ(x) − 1, at points x from 0 to 2."""
    x = nodes(0, 2.00002)
    s = values(lambda point: mpmath.erf(point / mpmath.sqrt(2)), x)
    return minimax(1 - s * s, x / s, s / x, 4, 4)


def show_about_centre(name: str, fit: tuple[Polynomial, Polynomial, float]) -> None:
    """P/D as A + (1 − t)·B/D, whose roundings weigh less: A is its value at t = 1."""
    p, d, error = fit
    a = p(1.0) / d(1.0)
    b, _ = divmod(p - a * d, Polynomial([1.0, -1.0]))
    print(f"{name}: error {error:.2g}\n  A {a:.9g}")
    for letter, polynomial in (("B", b), ("D", d)):
        print(f"  {letter}", *(f"{c:.9g}" for c in polynomial.coef))


if __name__ == "__main__":
    mpmath.mp.dps = 40
    for fit in (logarithm, sine, cosine, upper_point):
        show(fit.__name__, fit())
    show_about_centre(central_point.__name__, central_point())
