"""The numbers of a law as the kernels take them: rounded to the dtype the law computes in."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

Real = type[np.float32] | type[np.float64]


class RawWords(NamedTuple):
    """The word of each element, untouched."""

    half: np.uint32


class Constant32(NamedTuple):
    """The same value everywhere."""

    value: np.float32


class Constant64(NamedTuple):
    """`Constant32` with 53 bits."""

    value: np.float64


class Uniform32(NamedTuple):
    """middle + radius·x for x in (−1, 1), kept in [low, high]."""

    middle: np.float32
    radius: np.float32
    low: np.float32
    high: np.float32


class Uniform64(NamedTuple):
    """`Uniform32` with 53 bits."""

    middle: np.float64
    radius: np.float64
    low: np.float64
    high: np.float64


class Normal32(NamedTuple):
    """mean + std·z."""

    mean: np.float32
    std: np.float32


class Normal64(NamedTuple):
    """`Normal32` with 53 bits."""

    mean: np.float64
    std: np.float64


class Truncated32(NamedTuple):
    """mean + std·x kept in [low, high].

    Words below `threshold` lie left of the centre. On its side, x has tail probability left (or right) + mass·u.
    """

    mean: np.float32
    std: np.float32
    low: np.float32
    high: np.float32
    left: np.float32
    right: np.float32
    mass: np.float32
    threshold: np.uint32


class Central32(NamedTuple):
    """mean + std·x kept in [low, high], for x in [−2, 2].

    2Φ(x) − 1 is middle + radius·i for odd i between −2³¹ and 2³¹.
    """

    mean: np.float32
    std: np.float32
    low: np.float32
    high: np.float32
    middle: np.float32
    radius: np.float32


class Truncated64(NamedTuple):
    """`Truncated32` with 53 bits; tail probabilities in units of exp(log_scale), where log_scale ≥ −690."""

    mean: np.float64
    std: np.float64
    low: np.float64
    high: np.float64
    left: np.float64
    right: np.float64
    mass: np.float64
    log_scale: np.float64
    threshold: np.uint32


class FarTail64(NamedTuple):
    """`Truncated64` more than 37σ out, where all of it lies on one side."""

    mean: np.float64
    std: np.float64
    low: np.float64
    high: np.float64
    right: np.float64
    mass: np.float64
    log_scale: np.float64


Law = (
    RawWords
    | Constant32
    | Constant64
    | Uniform32
    | Uniform64
    | Normal32
    | Normal64
    | Truncated32
    | Central32
    | Truncated64
    | FarTail64
)


def uniform_law(real: Real, low: float, high: float) -> Uniform32 | Uniform64:
    """The law of U[low, high) computed in `real`."""
    limits = numbers_inside(real, low, high, open_above=True)
    numbers: Any = real(low / 2 + high / 2), real(high / 2 - low / 2), *limits
    return Uniform32(*numbers) if real is np.float32 else Uniform64(*numbers)


def normal_law(real: Real, mean: float, std: float) -> Normal32 | Normal64:
    """The law of N(mean, std²) computed in `real`."""
    numbers: Any = real(mean), real(std)
    return Normal32(*numbers) if real is np.float32 else Normal64(*numbers)


def numbers_inside(real: Real, low: float, high: float, *, open_above: bool = False) -> tuple[Any, Any]:
    """The least and the greatest `real` number in [low, high]; where there is none, the one nearest to low twice."""
    return _numbers_inside(real, low + 0.0, high + 0.0, open_above)  # as cache keys, −0 and 0 are the same


@lru_cache(maxsize=256)
def _numbers_inside(real: Real, low: float, high: float, open_above: bool) -> tuple[Any, Any]:
    least, most = _at_least(real, low), -_at_least(real, -high)
    if open_above and float(most) == high:
        most = np.nextafter(most, real(-np.inf))
    return (least, most) if least <= most else (real(low), real(low))


def _at_least(real: Real, bound: float) -> Any:
    with np.errstate(over="ignore"):
        nearest = real(bound)
    return nearest if float(nearest) >= bound else np.nextafter(nearest, real(np.inf))
