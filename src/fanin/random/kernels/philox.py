"""Philox4x32-10: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import uint32

from fanin.random.kernels.decorators import Wide, Word, inlined
from fanin.random.stream import Stream

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_LOW, _32 = np.uint64(0xFFFFFFFF), np.uint64(32)

Words = tuple[Word, Word, Word, Word]


class Counters(NamedTuple):
    """What of key and counter stays the same within a stream; 32-bit numbers held in 64 bits."""

    key0: np.uint64
    key1: np.uint64
    lane: np.uint64


def counters_of(stream: Stream) -> Counters:
    """The stream as the kernels take it."""
    return Counters(np.uint64(stream.key % 2**32), np.uint64(stream.key >> 32), np.uint64(stream.lane))


@inlined
def philox(c0: Wide, c1: Wide, c2: Wide, c3: Wide, k0: Wide, k1: Wide) -> Words:
    """The four words at counter (c0, c1, c2, c3) under key (k0, k1), each below 2³²."""
    # 32-bit words stay in 64-bit lanes: the widening multiply then needs no shuffles when vectorised.
    for _ in range(10):
        low, high = (c0 & _LOW) * _M0, (c2 & _LOW) * _M1
        c0, c1, c2, c3 = (high >> _32) ^ c1 ^ k0, high & _LOW, (low >> _32) ^ c3 ^ k1, low & _LOW
        k0, k1 = (k0 + _W0) & _LOW, (k1 + _W1) & _LOW
    return uint32(c0), uint32(c1), uint32(c2), uint32(c3)


@inlined
def block_words(stream: Counters, block: Wide, half: Wide) -> Words:
    """The words of elements 4·block … 4·block+3; half 1 gives the low words of float64 values."""
    return philox(block & _LOW, block >> _32, half, stream.lane, stream.key0, stream.key1)
