"""What pooling makes of a nonlinearity's second moment, for neighbours that are partly alike."""

from __future__ import annotations

from functools import lru_cache
from math import sqrt

import numpy as np

from fanin.errors import ArgumentError
from fanin.gains.activation_gain import formula
from fanin.gains.evaluation import array_function

ALIKE = 0.75
"""Correlation of neighbouring pre-activations; measured in docs/auto.md."""

_CACHED = 1024
_COMMON = 64
_NODES = 4096
_REACH = 9.0


@lru_cache(_CACHED)
def pooled_second_moment(
    activation: str,
    variance: float = 1.0,
    parameter: float | None = None,
    *,
    largest_of: int = 1,
    mean_of: int = 1,
    correlation: float = ALIKE,
) -> float:
    """E[p²] of p = the mean of m values, each the largest of n values f(z), over neighbouring z ~ N(0, K).

        z_i = √K·(√ρ·z₀ + √(1−ρ)·ε_i),   E[p²] = E[a² + (b − a²)/m],   a, b = E[max f], E[(max f)²] for given z₀

    Neighbours in a convolution's output are as alike as what it reads (its weights are drawn independently): ρ = 0 is
    white noise, where the largest gains most and a mean loses most; at ρ = 1 pooling changes nothing.

    Args:
        activation: a name (`activation_names()`).
        variance: K, positive.
        parameter: the activation's number.
        largest_of: n, how many values max-pooling picks from.
        mean_of: m, how many of these are averaged.
        correlation: ρ of two pre-activations, from 0 to 1.

    Raises:
        UnknownNameError: no activation of that name.
        ArgumentError: a number out of its range; a parameter that the activation does not take.

    >>> [round(pooled_second_moment("relu", 2.0, largest_of=4, correlation=rho), 3) for rho in (0, 0.75, 1)]
    [3.088, 1.946, 1.0]
    >>> round(pooled_second_moment("relu", 2.0, mean_of=4), 3)
    0.841
    """
    if not (variance > 0 and 0 <= correlation <= 1 and largest_of >= 1 and mean_of >= 1):
        raise ArgumentError(
            "pooling needs a positive variance, a correlation from 0 to 1 and windows of at least 1, got "
            f"variance={variance}, correlation={correlation}, largest_of={largest_of}, mean_of={mean_of}"
        )
    f = array_function(formula(activation, parameter), activation)
    common, chances = np.polynomial.hermite_e.hermegauss(_COMMON)
    own = (np.arange(_NODES) + 0.5) * (2 * _REACH / _NODES) - _REACH
    density = np.exp(-own * own / 2)
    z = sqrt(correlation) * common[:, None] + sqrt(1 - correlation) * own
    values = f((sqrt(variance) * z).ravel()).reshape(z.shape)
    order = np.argsort(values, axis=1)
    below = np.cumsum((density / density.sum())[order], axis=1) ** largest_of
    weights, ranked = np.diff(below, axis=1, prepend=0.0), np.take_along_axis(values, order, axis=1)
    first, second = (weights * ranked).sum(axis=1), (weights * ranked**2).sum(axis=1)
    found = (first**2 + (second - first**2) / mean_of) @ chances / chances.sum()
    # The last bits of tanh and exp differ between CPUs.
    return float(f"{found:.9g}")
