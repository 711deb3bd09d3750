"""One pass over the values of a tensor: all that its moments need."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import float32, float64

from fanin.random.kernels.addresses import array_at
from fanin.random.kernels.decorators import kernel

_LANES = 16
LONGEST = 1 << 27
"""Counts are kept in sixteen float32, which are exact up to 2²⁴ each."""


@kernel
def sums(address: int, count: int, like: Any, out: Any) -> None:
    """`out` becomes [Σx, Σx², max |x|, number of nonzeros] in float64; the first is not finite where a value is not.

    The values are `count` of the type of the array `like`, at `address`: a NumPy view would stop others from resizing
    the memory, as FSDP2 does.

    Each of sixteen lanes adds every sixteenth of at most 2²⁷ values, so that a processor adds several at once.
    """
    values = array_at(address, count, like)
    total, square = np.zeros(_LANES), np.zeros(_LANES)
    largest, nonzero = np.zeros(_LANES, np.float32), np.zeros(_LANES, np.float32)
    one, none = float32(1), float32(0)
    whole = count // _LANES * _LANES
    for at in range(0, whole, _LANES):
        for lane in range(_LANES):
            x = values[at + lane]
            wide = float64(x)
            total[lane] += wide
            square[lane] += wide * wide
            size = abs(x)
            largest[lane] = size if size > largest[lane] else largest[lane]
            nonzero[lane] += one if size > none else none
    for at in range(whole, count):
        x = values[at]
        wide = float64(x)
        total[0] += wide
        square[0] += wide * wide
        largest[0] = max(largest[0], abs(x))
        nonzero[0] += one if x != none else none
    out[0], out[1], out[2], out[3] = total.sum(), square.sum(), largest.max(), nonzero.sum()
