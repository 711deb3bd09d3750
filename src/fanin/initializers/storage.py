"""Writing computed values into the stored dtypes, each rounded once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fanin.initializers.base import Storage, check_storage
from fanin.random.stream import Region

_SIGN16 = np.uint16(0x8000)


def working_dtype(out: Storage) -> np.dtype[Any]:
    """The dtype that values for `out` are computed in: float64 for float64, float32 for all others."""
    return np.dtype(np.float64 if out.dtype == np.float64 else np.float32)


def shaped(out: Storage, region: Region) -> Storage:
    """`out` in the shape of its region.

    Raises:
        ArgumentError: it cannot hold the region.
    """
    check_storage(out, region)
    return out.reshape(region.size)


def store(out: Storage, values: NDArray[Any]) -> None:
    """Write `values` (float32 or float64, shape of `out`) into `out`, rounding to nearest even."""
    out[...] = bfloat16_bits(values) if out.dtype == np.uint16 else values


def negate(out: Storage) -> None:
    """Turn the sign of every value."""
    if out.dtype == np.uint16:
        np.bitwise_xor(out, _SIGN16, out=out)
    else:
        np.negative(out, out=out)


def scatter(out: Storage, region: Region, index: NDArray[np.int64], value: float) -> None:
    """Zero `out` and write `value` at those whole-tensor positions `index` ([count, rank]) that lie in `region`."""
    out.fill(0)
    local = index - np.array(region.start)
    inside = np.all((local >= 0) & (local < np.array(region.size)), axis=1)
    out.reshape(region.size)[tuple(local[inside].T)] = encoded(value, out)


def encoded(value: float, out: Storage) -> Any:
    """`value` as it is written into `out`: 16-bit ones by way of float32, as all others; uint16 is bfloat16 bits."""
    if out.dtype == np.uint16:
        return bfloat16_bits(np.float32(value))
    return np.float32(value) if out.dtype == np.float16 else value


def bfloat16_bits(values: Any) -> NDArray[np.uint16]:
    """The bfloat16 bits of float32 values, rounded to nearest even; NaN stays NaN.

    >>> [hex(bits) for bits in bfloat16_bits(np.array([1.0, -2.5], np.float32))]
    ['0x3f80', '0xc020']
    """
    single = np.asarray(values, np.float32)
    bits = single.view(np.uint32)
    rounded = (bits + (((bits >> 16) & 1) + np.uint32(0x7FFF))) >> 16
    return np.where(np.isnan(single), np.uint32(0x7FC0), rounded).astype(np.uint16)
