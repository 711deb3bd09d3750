"""Recognising a nonlinearity by its values, however the code composes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial
from math import asin, expm1, log

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

Values = NDArray[np.float64]

# No grid point lies on a kink; the first three are those that parameters are read off.
_PROBES = (-1.0, 0.0, 1e-3)
GRID: Values = np.concatenate([_PROBES, np.linspace(-8.937, 8.941, 189)])
_TOLERANCE = 1e-7
# A normal signal of unit variance goes beyond limits so far out less than once in a million.
_FAR = 5.0


def recognise(values: Values) -> tuple[str, float | None] | None:
    """The name and parameter of the activation with these values on `GRID`; None for unknown ones.

    Limits beyond ±5 (clamps in front of or behind it) do not change its name.

    >>> recognise(np.maximum(GRID, 0.3 * GRID))
    ('leaky_relu', 0.3)
    >>> recognise(np.clip(np.maximum(GRID, 0.3 * GRID), -100, 7))
    ('leaky_relu', 0.3)
    """
    if values.dtype == np.bool_ or not np.isfinite(values).all() or is_affine(values):
        return None
    inside = _within_limits(values)
    return _named(values) or (None if inside.all() else _named(np.where(inside, values, np.nan)))


def _named(values: Values) -> tuple[str, float | None] | None:
    """As `recognise`; values that are not to be compared are NaN."""
    for name, known in _known().items():
        if _equal(values, known):
            return name, None
    return next((match for family in _FAMILIES for match in family(values)), None)


def is_affine(values: Values) -> bool:
    """The values lie on one line over `GRID`, limits beyond ±5 apart: no nonlinearity."""
    if values.dtype == np.bool_ or not np.isfinite(values).all():
        return False
    if _on_line(GRID, values):
        return True
    inside = _within_limits(values)
    return not inside.all() and _on_line(GRID[inside], values[inside])


def _on_line(places: Values, values: Values) -> bool:
    slope, level = np.polyfit(places, values, 1)
    return bool(np.abs(slope * places + level - values).max() <= 1e-6 * (1 + np.abs(values).max()))


def _within_limits(values: Values) -> NDArray[np.bool_]:
    """Where on `GRID` the values do not stand still at an end of it, beyond ±5."""
    low, high = (values == values[len(_PROBES)]), values == values[-1]
    still = ((GRID < -_FAR) & low) | ((GRID > _FAR) & high)
    return ~still


def _leaky_relu(values: Values) -> Iterator[tuple[str, float]]:
    slope = _rounded(-values[0])
    if _equal(values, np.where(GRID > 0, GRID, slope * GRID)):
        yield "leaky_relu", slope


def _elu(values: Values) -> Iterator[tuple[str, float]]:
    alpha = _rounded(values[0] / expm1(-1.0))
    if _equal(values, np.where(GRID > 0, GRID, alpha * np.expm1(GRID))):
        yield "elu", alpha


def _celu(values: Values) -> Iterator[tuple[str, float]]:
    """Near 0 the branch below is x + x²/(2·alpha): alpha is found by bisection on its value at −1."""
    low, high = 1e-3, 1e3
    for _ in range(100):
        alpha = (low * high) ** 0.5
        low, high = (alpha, high) if alpha * expm1(-1.0 / alpha) > values[0] else (low, alpha)
    alpha = _rounded(low)
    if _equal(values, np.where(GRID > 0, GRID, alpha * np.expm1(np.minimum(GRID, 0) / alpha))):
        yield "celu", alpha


def _softplus(values: Values) -> Iterator[tuple[str, float]]:
    if values[1] > 0:
        beta = _rounded(log(2) / values[1])
        # torch is linear beyond a threshold of 20, which differs from the formula by 2e-9/beta
        if _equal(values, np.logaddexp(0, beta * GRID) / beta):
            yield "softplus", beta


def _sine(values: Values) -> Iterator[tuple[str, float]]:
    if abs(values[2]) < 1:
        omega = _rounded(asin(values[2]) / _PROBES[2])
        if omega and _equal(values, np.sin(omega * GRID)):
            yield "sin", omega


def _equal(one: Values, other: Values) -> bool:
    return bool(np.nanmax(np.abs(one - other)) <= _TOLERANCE)


def _rounded(number: float) -> float:
    """Nine digits: what the code wrote, without the last bits of evaluating it."""
    return float(f"{number:.9g}")


@cache
def _known() -> dict[str, Values]:
    grid = torch.from_numpy(GRID)
    return {name: function(grid).numpy() for name, function in _FUNCTIONS.items()}


_FUNCTIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "abs": torch.abs,
    "cos": torch.cos,
    "elu": F.elu,
    "erf": torch.erf,
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "hardsigmoid": F.hardsigmoid,
    "hardswish": F.hardswish,
    "hardtanh": F.hardtanh,
    "logsigmoid": F.logsigmoid,
    "mish": F.mish,
    "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
    "relu": torch.relu,
    "relu6": F.relu6,
    "relu_squared": lambda x: torch.relu(x) ** 2,
    "selu": torch.selu,
    "sigmoid": torch.sigmoid,
    "silu": F.silu,
    "sin": torch.sin,
    "softplus": F.softplus,
    "softsign": F.softsign,
    "tanh": torch.tanh,
    "tanhshrink": F.tanhshrink,
}
_FAMILIES = (_leaky_relu, _elu, _celu, _softplus, _sine)
