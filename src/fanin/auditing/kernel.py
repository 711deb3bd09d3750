"""The kernels that read the values of a tensor once: sums of powers, extremes, counts by bits, hashes of units.

Only sums of floats may be reordered (no number is stored from them); hashes and counts are the same on every machine.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np

from fanin.random.kernels.decorators import OPTIONS, Word, kernel

F = TypeVar("F", bound=Callable[..., Any])

GROUP = 4096  # values that stay in the fastest cache between the loops
_SUMMING: Any = {"fastmath": {"reassoc", "contract", "nsz"}, **OPTIONS}
_ABSOLUTE, _INFINITY, _HUGE = np.uint32(0x7FFFFFFF), np.uint32(0x7F800000), np.uint32(0x7149F2CA)  # of 1e30
_FIRST, _SHIFT, _SIGN, _ZERO = np.uint32(0x85EBCA6B), np.uint32(15), np.int32(31), np.uint32(0)
_LOW_BITS, _HALF = np.int32(0x7FFFFFFF), np.uint64(32)


def _summing(function: F) -> F:
    return cast(F, numba.njit(**_SUMMING)(function))


def _exact(function: F) -> F:
    return cast(F, numba.njit(**OPTIONS)(function))


@_summing
def _powers(values: Any) -> Any:
    """Σx, Σx³, Σx⁴."""
    first = third = fourth = 0.0
    for at in range(values.size):
        wide = np.float64(values[at])
        square = wide * wide
        first += wide
        third += square * wide
        fourth += square * square
    return first, third, fourth


@_summing
def _second(values: Any) -> Any:
    total = 0.0
    for at in range(values.size):
        wide = np.float64(values[at])
        total += wide * wide
    return total


@_exact
def _hashed(bits: Any, keys: Any) -> Any:
    """Two sums of 32 bits over mixed values; each value is mixed with the key of its place."""
    one = two = np.uint32(0)
    for at in range(bits.size):
        mixed = np.uint32(np.uint32(bits[at] ^ keys[at]) * _FIRST)
        mixed = np.uint32(mixed ^ (mixed >> _SHIFT))
        one = np.uint32(one + mixed)
        two = np.uint32(two + np.uint32(mixed * mixed))
    return (np.uint64(one) << _HALF) | np.uint64(two)


@_exact
def _hash_columns(bits: Any, key: Word, ones: Any, twos: Any) -> None:
    for at in range(bits.size):
        mixed = np.uint32(np.uint32(bits[at] ^ key) * _FIRST)
        mixed = np.uint32(mixed ^ (mixed >> _SHIFT))
        ones[at] = np.uint32(ones[at] + mixed)
        twos[at] = np.uint32(twos[at] + np.uint32(mixed * mixed))


@_exact
def _counted(bits: Any, tiny: Word) -> Any:
    """How many values are zero, below `tiny`, above 1e30, not finite."""
    zeros = small = huge = bad = np.uint32(0)
    for at in range(bits.size):
        absolute = np.uint32(bits[at] & _ABSOLUTE)
        zeros = np.uint32(zeros + np.uint32(absolute == _ZERO))
        small = np.uint32(small + np.uint32(absolute < tiny))
        huge = np.uint32(huge + np.uint32(absolute > _HUGE))
        bad = np.uint32(bad + np.uint32(absolute >= _INFINITY))
    return zeros, small, huge, bad


@_exact
def _ordered(words: Any) -> Any:
    """The least and the greatest value, as integers in the same order: comparing floats is not vectorized."""
    low, high = np.int32(0x7FFFFFFF), np.int32(-0x7FFFFFFF)
    for at in range(words.size):
        word = words[at]
        place = np.int32(word ^ ((word >> _SIGN) & _LOW_BITS))
        low, high = min(low, place), max(high, place)
    return low, high


@kernel
def look(
    values: Any,
    bits: Any,
    words: Any,
    keys: Any,
    columns: int,
    tiny: Word,
    hashes: Any,
    seconds: Any,
    sums: Any,
    counts: Any,
    extremes: Any,
) -> None:
    """Read finite and other values once, in rows of `columns`.

    Args:
        values, bits, words: the same memory as float32, uint32 and int32.
        keys: one for each column.
        tiny: the bits of the least normal value of the stored dtype.
        hashes, seconds: one for each row, written: its hash and Σx².
        sums: written: Σx, Σx², Σx³, Σx⁴.
        counts: written: zeros, values below `tiny`, above 1e30, not finite.
        extremes: written: least and greatest value as ordered integers.
    """
    rows = seconds.size
    group = max(1, GROUP // columns)
    for first in range(0, rows, group):
        last = min(rows, first + group)
        for row in range(first, last):
            if hashes.size:  # the hashes of columns are made by `hash_columns`
                hashes[row] = _hashed(bits[row * columns : (row + 1) * columns], keys)
            seconds[row] = _second(values[row * columns : (row + 1) * columns])
            sums[1] += seconds[row]
        one, three, four = _powers(values[first * columns : last * columns])
        sums[0] += one
        sums[2] += three
        sums[3] += four
        zeros, small, huge, bad = _counted(bits[first * columns : last * columns], tiny)
        counts[0] += zeros
        counts[1] += small
        counts[2] += huge
        counts[3] += bad
        low, high = _ordered(words[first * columns : last * columns])
        extremes[0] = min(extremes[0], low)
        extremes[1] = max(extremes[1], high)


@kernel
def hash_rows(bits: Any, columns: int, keys: Any, hashes: Any) -> None:
    """The hash of each row of `columns` words."""
    for row in range(hashes.size):
        hashes[row] = _hashed(bits[row * columns : (row + 1) * columns], keys)


@kernel
def hash_columns(bits: Any, columns: int, keys: Any, ones: Any, twos: Any) -> None:
    """Add rows to the hashes of columns; `keys` has one for each row."""
    for row in range(keys.size):
        _hash_columns(bits[row * columns : (row + 1) * columns], keys[row], ones, twos)
