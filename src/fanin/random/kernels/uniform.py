"""Uniform values: symmetric midpoints of 2²⁴ (float32) or 2⁵³ (float64) equal cells of (−1, 1), moved and scaled."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import float32, float64, int32, int64, uint64

from fanin.random.kernels.decorators import Float32, Float64, Wide, Word, inlined
from fanin.random.kernels.philox import Counters, block_words, draw_words
from fanin.random.laws import Uniform32, Uniform64

_SCALE32 = np.float32(2.0**-24)
_HALF64, _SCALE64 = np.float64(0.5), np.float64(2.0**-52)


@inlined
def signed_unit32(word: Word) -> Float32:
    """The midpoint of the cell of (−1, 1) that the upper 24 bits of a word name, as a signed number."""
    return float32(int32(int32(int32(word) >> int32(7)) | int32(1))) * _SCALE32


@inlined
def signed_unit64(high: Word, low: Word) -> Float64:
    """`signed_unit32` refined to 53 bits by a second word."""
    word = int64((uint64(high) << uint64(32)) | uint64(low))
    return (float64(word >> int64(11)) + _HALF64) * _SCALE64


@inlined
def _between(law: Any, unit: Any) -> Any:
    return min(max(law.middle + law.radius * unit, law.low), law.high)


def uniform32(law: Uniform32, stream: Counters, block: Wide) -> tuple[Float32, ...]:
    a, b, c, d = block_words(stream, block, uint64(0))
    return (
        _between(law, signed_unit32(a)),
        _between(law, signed_unit32(b)),
        _between(law, signed_unit32(c)),
        _between(law, signed_unit32(d)),
    )


def uniform64(law: Uniform64, stream: Counters, block: Wide) -> tuple[Float64, ...]:
    a, b, c, d = block_words(stream, block, uint64(0))
    e, f, g, h = block_words(stream, block, uint64(1))
    return (
        _between(law, signed_unit64(a, e)),
        _between(law, signed_unit64(b, f)),
        _between(law, signed_unit64(c, g)),
        _between(law, signed_unit64(d, h)),
    )


def uniform32_tile(
    law: Uniform32, stream: Counters, block: Wide, blocks: int, words: Any, lows: Any, values: Any
) -> None:
    draw_words(words, stream, block, uint64(0), blocks)
    for row in range(4):
        for j in range(blocks):
            values[row, j] = _between(law, signed_unit32(words[row, j]))


def uniform64_tile(
    law: Uniform64, stream: Counters, block: Wide, blocks: int, words: Any, lows: Any, values: Any
) -> None:
    draw_words(words, stream, block, uint64(0), blocks)
    draw_words(lows, stream, block, uint64(1), blocks)
    for row in range(4):
        for j in range(blocks):
            values[row, j] = _between(law, signed_unit64(words[row, j], lows[row, j]))
