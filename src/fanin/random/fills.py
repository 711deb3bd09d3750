"""Filling arrays with the values of a law: check the arguments, resolve the law's numbers, run the kernel."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache, partial
from math import copysign, isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fanin.errors import ArgumentError
from fanin.random.laws import Law, RawWords, Real, normal_law, uniform_law
from fanin.random.normal_law import check_bounds
from fanin.random.runs import runs_of
from fanin.random.stream import Region, Stream
from fanin.random.threads import run_shares
from fanin.random.truncated_law import truncated_law

Storage = NDArray[Any]
_FLOATS = tuple(map(np.dtype, ("float32", "float64", "float16", "uint16")))
_WORDS = (np.dtype("uint32"),)
_HALF = np.dtype("float16")
_LARGEST = {real: float(np.finfo(real).max) for real in (np.float32, np.float64)}


def uniform(
    out: Storage, stream: Stream, region: Region, low: float, high: float, *, threads: int | None = None
) -> None:
    """Fill `out` with uniform values on [low, high).

    A value is (low + high)/2 + (high − low)/2·x, where x is one of the 2²⁴ (float64: 2⁵³) cell midpoints of
    (−1, 1), so that symmetric bounds give symmetric values. 16-bit values are the float32 ones, rounded once.

    Args:
        out: C-contiguous array of `region.numel` elements: float32, float64, float16, or uint16 for bfloat16 bits.
        stream: the tensor's random numbers.
        region: which part of the logical tensor `out` is.
        low, high: the bounds, low ≤ high.
        threads: how many threads to use, by default `default_threads()`; the values do not depend on it.

    Raises:
        ArgumentError: bounds crossed or not finite, or `out` does not fit.

    >>> out = np.empty(4, np.float32)
    >>> uniform(out, Stream.named(0, "w"), Region.whole((4,)), -1.0, 1.0)
    >>> [round(float(value), 6) for value in out]
    [0.238591, -0.859767, -0.509607, 0.197979]
    """
    real = _real_of(out, region, _FLOATS)
    _check_finite(real, low=low, high=high)
    if low > high:
        raise ArgumentError(f"uniform needs low <= high, got low {low} and high {high}")
    _run(out, stream, region, uniform_law(real, low, high), threads)


def normal(
    out: Storage, stream: Stream, region: Region, mean: float, std: float, *, threads: int | None = None
) -> None:
    """Fill `out` with normal values mean + std·z, by Box and Muller's transform.

    z reaches ±6.7 (float64: ±8.6). 16-bit values are the float32 ones, rounded once.

    Args:
        out, stream, region, threads: as for `uniform`.
        mean, std: of the law; std ≥ 0.

    Raises:
        ArgumentError: std negative, a number not finite, or `out` does not fit.

    Source: Box, Muller, "A note on the generation of random normal deviates", 1958.

    >>> out = np.empty(4, np.float32)
    >>> normal(out, Stream.named(0, "w"), Region.whole((4,)), 0.0, 0.02)
    >>> [round(float(value), 6) for value in out]
    [-0.037304, 0.017587, 0.012467, 0.008937]
    """
    real = _real_of(out, region, _FLOATS)
    _run(out, stream, region, checked_normal_law(real, mean, std), threads)


def truncated_normal(
    out: Storage,
    stream: Stream,
    region: Region,
    mean: float,
    std: float,
    lower: float,
    upper: float,
    *,
    threads: int | None = None,
) -> None:
    """Fill `out` with values of N(mean, std²) cut to mean + std·[lower, upper], by inverting its distribution function.

    One word gives one value, without rejection, so the time is the same for all bounds that leave more than a far
    tail. float32 and float64 values never leave the bounds; 16-bit values are the float32 ones, rounded once.

    Args:
        out, stream, region, threads: as for `uniform`.
        mean, std: of the parent law, before it is cut; std ≥ 0.
        lower, upper: the bounds in standard deviations of the parent, lower < upper; may be infinite.

    Raises:
        ArgumentError: std negative, bounds crossed, a number not finite, or `out` does not fit.

    Source: Devroye, "Non-uniform random variate generation", 1986, II.2 (inversion).

    >>> out = np.empty(4, np.float32)
    >>> truncated_normal(out, Stream.named(0, "w"), Region.whole((4,)), 0.0, 1.0, -2.0, 2.0)
    >>> [round(float(value), 6) for value in out]
    [-1.095642, 0.168554, 0.625077, -1.188921]
    """
    real = _real_of(out, region, _FLOATS)
    _run(out, stream, region, checked_truncated_law(real, mean, std, lower, upper), threads)


def words(out: Storage, stream: Stream, region: Region, *, threads: int | None = None) -> None:
    """Fill `out` (uint32) with the raw Philox word of each element, for masks and sign bits.

    Args:
        out: C-contiguous uint32 array of `region.numel` elements.
        stream, region, threads: as for `uniform`.

    Raises:
        ArgumentError: `out` does not fit.

    Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", 2011.

    >>> out = np.empty(4, np.uint32)
    >>> words(out, Stream(key=0), Region.whole((4,)))
    >>> [hex(word) for word in out]
    ['0x6627e8d5', '0xe169c58d', '0xbc57ac4c', '0x9b00dbd8']
    """
    _real_of(out, region, _WORDS)
    _run(out, stream, region, RawWords(np.uint32(0)), threads)


def checked_normal_law(real: Real, mean: float, std: float) -> Law:
    """The law of N(mean, std²) computed in `real`.

    Raises:
        ArgumentError: std negative, or a number not finite in `real`.
    """
    return _checked_normal_law(real, mean, std, copysign(1.0, mean), copysign(1.0, std))


@lru_cache(maxsize=1024)
def _checked_normal_law(real: Real, mean: float, std: float, *signs: float) -> Law:  # as cache keys, −0 and 0 are one
    _check_normal(real, mean, std)
    return normal_law(real, mean, std)


@lru_cache(maxsize=1024)
def checked_truncated_law(real: Real, mean: float, std: float, lower: float, upper: float) -> Law:
    """The law of N(mean, std²) cut to mean + std·[lower, upper] computed in `real`.

    Raises:
        ArgumentError: std negative, bounds crossed, or a number not finite in `real`.
    """
    _check_normal(real, mean, std)
    check_bounds(lower, upper)
    return truncated_law(real, mean, std, lower, upper)


def _run(out: Storage, stream: Stream, region: Region, law: Law, threads: int | None) -> None:
    if threads is not None and threads < 1:
        raise ArgumentError(f"threads must be at least 1, got {threads}")
    if not out.size:
        return
    flat = out.reshape(-1)
    stored = flat.view(np.int16) if out.dtype == _HALF else flat
    place = np.uint64(stream.key), np.uint64(stream.lane), *runs_of(region)
    run_shares(partial(_compiled(), stored, law, *place), out.size, threads)


@cache
def _compiled() -> Callable[..., None]:
    """The kernel; loading Numba waits for the first draw."""
    from fanin.random.kernels.fill import fill

    return fill


def _real_of(out: Storage, region: Region, dtypes: tuple[np.dtype[Any], ...]) -> Real:
    """The dtype the values of `out` are computed in."""
    if out.dtype not in dtypes:
        names = ", ".join(dtype.name for dtype in dtypes)
        raise ArgumentError(f"cannot fill dtype {out.dtype}: use {names}, in native byte order")
    if out.size != region.numel or not out.flags.c_contiguous or not out.flags.writeable:
        raise ArgumentError(
            f"out must be a writeable C-contiguous array of {region.numel} elements for the region of size "
            f"{region.size}, got shape {out.shape} with strides {out.strides}"
        )
    return np.float64 if out.dtype == np.float64 else np.float32


def _check_normal(real: Real, mean: float, std: float) -> None:
    _check_finite(real, mean=mean, std=std)
    if std < 0:
        raise ArgumentError(f"a normal law needs std >= 0, got {std}")


def _check_finite(real: Real, **numbers: float) -> None:
    for name, number in numbers.items():
        if not isfinite(number) or abs(number) > _LARGEST[real]:
            raise ArgumentError(f"{name} must be a finite {real.__name__} number, got {number}")
