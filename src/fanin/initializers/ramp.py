"""Fixed values along one dimension: a ramp, or a short pattern again and again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fanin.errors import ArgumentError
from fanin.initializers.base import Initializer, Storage, check_storage
from fanin.initializers.checks import as_floats, finite
from fanin.initializers.elementary import power
from fanin.initializers.storage import store, working_dtype
from fanin.random.stream import Region, Stream


@dataclass(frozen=True, slots=True)
class Ramp(Initializer):
    """low + (high − low)·tᵖ, where t goes from 0 to 1 along one dimension in equal steps; no random numbers.

    Decay rates of recurrent and state-space models, which are spread over channels on purpose.

    Args:
        low, high: the values at t = 0 and t = 1.
        exponent: p, not negative; 0⁰ is 1.
        endpoint: t = 1 is the last element; else the one after it, as in NumPy's `linspace`.
        axis: the dimension, counted from the end if negative.

    Raises:
        ArgumentError: a number is not finite, or the exponent negative; at fill, a tensor without the dimension.

    >>> Ramp(1.0, 4.0).at(4)
    array([1., 2., 3., 4.])
    >>> Ramp(1.0, 3.0).moments((8, 2))
    (2.0, 1.0)
    """

    low: float = 0.0
    high: float = 1.0
    exponent: float = 1.0
    endpoint: bool = True
    axis: int = -1

    def __post_init__(self) -> None:
        as_floats(self, "low", "high", "exponent")
        if self.exponent < 0:
            raise ArgumentError(f"Ramp: exponent must not be negative, got {self.exponent}")
        _check_axis(self)

    def at(self, count: int) -> NDArray[np.float64]:
        """The values along a dimension of `count` elements."""
        steps = max(count - 1, 1) if self.endpoint else max(count, 1)
        index = np.arange(count, dtype=np.float64)
        if self.exponent == 1:
            return self.low + index * ((self.high - self.low) / steps)
        return self.low + (self.high - self.low) * power(index / steps, self.exponent)

    def fill(self, out: Storage, stream: Stream, region: Region, *, threads: int | None = None) -> None:
        check_storage(out, region)
        store(out, along("Ramp", self.at, self.axis, region).astype(working_dtype(out)).reshape(out.shape))

    def moments(self, shape: tuple[int, ...]) -> tuple[float, float]:
        return moments_along("Ramp", self.at, self.axis, shape)


@dataclass(frozen=True, slots=True)
class Cycle(Initializer):
    """The `values` in turn along one dimension, again and again; no random numbers.

    Args:
        values: one or more numbers.
        axis: the dimension, counted from the end if negative.

    Raises:
        ArgumentError: no values, or one that is not finite; at fill, a tensor without the dimension.

    >>> Cycle((0.0, 0.5, -0.5)).at(5)
    array([ 0. ,  0.5, -0.5,  0. ,  0.5])
    """

    values: tuple[float, ...]
    axis: int = -1

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", tuple(finite("Cycle", "a value", value) for value in self.values))
        if not self.values:
            raise ArgumentError("Cycle: give at least one value")
        _check_axis(self)

    def at(self, count: int) -> NDArray[np.float64]:
        """The values along a dimension of `count` elements."""
        return np.resize(np.array(self.values), count)

    def fill(self, out: Storage, stream: Stream, region: Region, *, threads: int | None = None) -> None:
        check_storage(out, region)
        store(out, along("Cycle", self.at, self.axis, region).astype(working_dtype(out)).reshape(out.shape))

    def moments(self, shape: tuple[int, ...]) -> tuple[float, float]:
        return moments_along("Cycle", self.at, self.axis, shape)


def along(law: str, at: Callable[[int], NDArray[np.float64]], axis: int, region: Region) -> NDArray[np.float64]:
    """The values `at(count)` along one dimension, spread over a region."""
    place = _place(law, axis, region.shape)
    first, count = region.start[place], region.size[place]
    values = at(region.shape[place])[first : first + count]
    return np.broadcast_to(values.reshape(-1, *[1] * (len(region.shape) - place - 1)), region.size)


def moments_along(
    law: str, at: Callable[[int], NDArray[np.float64]], axis: int, shape: tuple[int, ...]
) -> tuple[float, float]:
    """(mean, std) of the values `at(count)` along one dimension; (0, 0) where there are none."""
    values = at(shape[_place(law, axis, shape)])
    return (float(values.mean()), float(values.std())) if values.size else (0.0, 0.0)


def _place(law: str, axis: int, shape: tuple[int, ...]) -> int:
    if not -len(shape) <= axis < len(shape):
        raise ArgumentError(f"{law}: a tensor of shape {shape} has no dimension {axis}")
    return axis % len(shape)


def _check_axis(law: Ramp | Cycle) -> None:
    if type(law.axis) is not int:
        raise ArgumentError(f"{type(law).__name__}: axis must be a whole number, got {law.axis!r}")
