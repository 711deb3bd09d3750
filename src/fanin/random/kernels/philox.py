"""Philox4x32-10: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import uint32, uint64

from fanin.random.kernels.decorators import Wide, Word, inlined, spliced
from fanin.random.stream import Stream

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_LOW, _32 = np.uint64(0xFFFFFFFF), np.uint64(32)

Words = tuple[Word, Word, Word, Word]

TILE = 512
"""Blocks drawn at a time: their words and values stay in the first cache."""


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


@spliced
def draw_words(words: Any, stream: Counters, block: Wide, half: Wide, blocks: int) -> None:
    """The words of `blocks` ≤ `TILE` blocks from `block` on, which must not reach beyond a multiple of 2³².

    Word r of block j goes to words[r, j].
    """
    c0, c1 = block & _LOW, block >> _32
    if blocks < TILE:
        for j in range(blocks):
            a, b, c, d = c0 + uint64(j), c1, half, stream.lane
            k0, k1 = stream.key0, stream.key1
            for _ in range(10):
                low, high = (a & _LOW) * _M0, (c & _LOW) * _M1
                a, b, c, d = (high >> _32) ^ b ^ k0, high & _LOW, (low >> _32) ^ d ^ k1, low & _LOW
                k0, k1 = (k0 + _W0) & _LOW, (k1 + _W1) & _LOW
            words[0, j], words[1, j], words[2, j], words[3, j] = a, b, c, d
    else:
        for j in range(TILE // 2):
            # The rounds of two blocks take turns: one alone would wait for its own products.
            a, b, c, d = c0 + uint64(j), c1, half, stream.lane
            e, f, g, h = c0 + uint64(j + TILE // 2), c1, half, stream.lane
            k0, k1 = stream.key0, stream.key1
            for _ in range(10):
                low, high = (a & _LOW) * _M0, (c & _LOW) * _M1
                down, up = (e & _LOW) * _M0, (g & _LOW) * _M1
                a, b, c, d = (high >> _32) ^ b ^ k0, high & _LOW, (low >> _32) ^ d ^ k1, low & _LOW
                e, f, g, h = (up >> _32) ^ f ^ k0, up & _LOW, (down >> _32) ^ h ^ k1, down & _LOW
                k0, k1 = (k0 + _W0) & _LOW, (k1 + _W1) & _LOW
            k = j + TILE // 2
            words[0, j], words[1, j], words[2, j], words[3, j] = a, b, c, d
            words[0, k], words[1, k], words[2, k], words[3, k] = e, f, g, h


@inlined
def block_words(stream: Counters, block: Wide, half: Wide) -> Words:
    """The words of elements 4·block … 4·block+3; half 1 gives the low words of float64 values."""
    return philox(block & _LOW, block >> _32, half, stream.lane, stream.key0, stream.key1)
