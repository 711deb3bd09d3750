"""The numbers of many laws of one class, as the batched kernel takes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fanin.errors import ArgumentError
from fanin.random.laws import (
    Central32,
    Constant32,
    Constant64,
    Law,
    Normal32,
    Normal64,
    Real,
    Truncated32,
    Truncated64,
    Uniform32,
    Uniform64,
)

_REAL = {"float32": np.float32, "float64": np.float64, "float16": np.float32, "uint16": np.float32}
BATCHED = (Constant32, Constant64, Normal32, Normal64, Truncated32, Central32, Truncated64, Uniform32, Uniform64)
"""Classes of laws that can be batched."""


class Laws(NamedTuple):
    """The numbers of many laws of one class.

    Attributes:
        kind: one law of the class.
        numbers: the fields of each law, [laws, fields]; float64 holds them all exactly.
    """

    kind: Law
    numbers: NDArray[np.float64]


def real_of(stored: np.dtype[Any]) -> Real:
    """The dtype that values stored as `stored` are computed in.

    Raises:
        ArgumentError: no random values can be stored as that.
    """
    real = _REAL.get(stored.name) if stored.isnative else None
    if real is None:
        raise ArgumentError(f"cannot fill dtype {stored}: use {', '.join(_REAL)}, in native byte order")
    return real


def laws_of(laws: Sequence[Law]) -> Laws | None:
    """Laws as a batch, or None where they are of several classes or of one that cannot be batched."""
    kinds = set(map(type, laws))
    if len(kinds) != 1 or not kinds.issubset(BATCHED):
        return None
    return Laws(laws[0], np.array(laws, np.float64))


def normal_laws(real: Real, means: Sequence[float], stds: Sequence[float]) -> Laws:
    """`checked_normal_law` for each mean and std.

    Raises:
        ArgumentError: a std negative, or a number not finite in `real`.
    """
    numbers = np.array([means, stds], np.float64).T
    _check(real, numbers, numbers[:, 1] >= 0, "a normal law needs a finite {real} mean and std >= 0, got {}")
    return _rounded(real, (Normal32, Normal64), numbers)


def uniform_laws(real: Real, lows: Sequence[float], highs: Sequence[float]) -> Laws:
    """The law of U[low, high) for each pair of bounds.

    Raises:
        ArgumentError: bounds crossed, or a number not finite in `real`.
    """
    bounds = np.array([lows, highs], np.float64).T
    _check(real, bounds, bounds[:, 0] <= bounds[:, 1], "uniform needs finite {real} bounds low <= high, got {}")
    low, high = (bounds + 0.0).T  # −0 becomes 0, as in the ordinary law
    numbers = np.column_stack([low / 2 + high / 2, high / 2 - low / 2, *_limits(real, low, high)])
    return _rounded(real, (Uniform32, Uniform64), numbers)


def constant_laws(stored: np.dtype[Any], values: Sequence[float]) -> Laws:
    """A constant law for each value, as the ordinary fill stores it.

    Raises:
        ArgumentError: NaN, or a finite value that the stored dtype cannot hold.
    """
    real = real_of(stored)
    held = real if stored == np.uint16 else stored
    limit = float(np.finfo(held).max)
    numbers = np.array(values, np.float64)
    bad = ~((np.abs(numbers) <= limit) | np.isinf(numbers))
    if bad.any():
        raise ArgumentError(
            f"a constant of dtype {stored} must be a number of at most {limit:.6g}, got {numbers[bad][0]}"
        )
    return _rounded(real, (Constant32, Constant64), numbers.astype(real).astype(held)[:, None])


def _check(real: Real, numbers: NDArray[np.float64], ordered: NDArray[np.bool_], message: str) -> None:
    bad = ~(ordered & (np.abs(numbers) <= np.finfo(real).max).all(1))
    if bad.any():
        raise ArgumentError(message.format(", ".join(map(str, numbers[bad][0].tolist())), real=real.__name__))


def _limits(real: Real, low: NDArray[np.float64], high: NDArray[np.float64]) -> tuple[NDArray[Any], NDArray[Any]]:
    """`numbers_inside` [low, high) for each pair of bounds."""
    least, most = _at_least(real, low), -_at_least(real, -high)
    most = np.where(most == high, np.nextafter(most, real(-np.inf)), most)
    empty = least > most
    nearest = low.astype(real)
    return np.where(empty, nearest, least), np.where(empty, nearest, most)


def _at_least(real: Real, bounds: NDArray[np.float64]) -> NDArray[Any]:
    nearest = bounds.astype(real)
    return np.where(nearest >= bounds, nearest, np.nextafter(nearest, real(np.inf)))


def _rounded(real: Real, kinds: tuple[type[Any], type[Any]], numbers: NDArray[Any]) -> Laws:
    """`numbers` rounded to `real`, as laws of the first or second class."""
    rounded = numbers.astype(real)
    kind = kinds[real is np.float64]
    return Laws(
        kind._make(rounded[0] if len(rounded) else np.zeros(numbers.shape[1], real)), rounded.astype(np.float64)
    )
