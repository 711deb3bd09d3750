"""Truncated normal values by inverting the distribution function: one word, one value, no rejection.

Words below a threshold fall left of the centre, the others right of it; each side measures its probability from
its own tail, so the tails keep the resolution of small numbers. A law wholly left of its mean is mirrored first.
"""

from __future__ import annotations

from typing import Any

from numba import float32, float64, int32, uint32, uint64

from fanin.random.kernels.decorators import Float32, Float64, Wide, Word, inlined
from fanin.random.kernels.math32 import central_point32, upper_point32, with_sign32
from fanin.random.kernels.math64 import far_upper_point64, upper_point64, with_sign64
from fanin.random.kernels.philox import Counters, block_words, draw_words
from fanin.random.laws import Central32, FarTail64, Truncated32, Truncated64


@inlined
def _value32(law: Truncated32, word: Word) -> Float32:
    is_left = word < law.threshold
    flip = uint32(0) if is_left else uint32(0xFFFFFFFF)
    base = law.left if is_left else law.right
    u = (float32(uint32(word ^ flip)) + float32(0.5)) * float32(2.0**-32)
    point = with_sign32(upper_point32(base + law.mass * u), uint32(~flip))
    return min(max(law.mean + law.std * point, law.low), law.high)


@inlined
def _central32(law: Central32, word: Word) -> Float32:
    odd = int32(uint32(uint32(word ^ uint32(0x80000000)) | uint32(1)))
    point = central_point32(law.middle + law.radius * float32(odd))
    return min(max(law.mean + law.std * point, law.low), law.high)


@inlined
def _value64(law: Truncated64, word: Word, low_word: Word) -> Float64:
    is_left = word < law.threshold
    flip = uint64(0) if is_left else uint64(0x1FFFFFFFFFFFFF)
    base = law.left if is_left else law.right
    u = _unit64(word, low_word, flip)
    point = with_sign64(upper_point64(base + law.mass * u, law.log_scale), is_left)
    return min(max(law.mean + law.std * point, law.low), law.high)


@inlined
def _far_value64(law: FarTail64, word: Word, low_word: Word) -> Float64:
    u = _unit64(word, low_word, uint64(0x1FFFFFFFFFFFFF))
    point = far_upper_point64(law.right + law.mass * u, law.log_scale)
    return min(max(law.mean + law.std * point, law.low), law.high)


@inlined
def _unit64(word: Word, low_word: Word, flip: Wide) -> Float64:
    cell = ((uint64(word) << uint64(21)) | (uint64(low_word) >> uint64(11))) ^ flip
    return (float64(cell) + 0.5) * 2.0**-53


def truncated32(law: Truncated32, stream: Counters, block: Wide) -> tuple[Float32, ...]:
    a, b, c, d = block_words(stream, block, uint64(0))
    return _value32(law, a), _value32(law, b), _value32(law, c), _value32(law, d)


def central32(law: Central32, stream: Counters, block: Wide) -> tuple[Float32, ...]:
    a, b, c, d = block_words(stream, block, uint64(0))
    return _central32(law, a), _central32(law, b), _central32(law, c), _central32(law, d)


def truncated64(law: Truncated64, stream: Counters, block: Wide) -> tuple[Float64, ...]:
    a, b, c, d = block_words(stream, block, uint64(0))
    e, f, g, h = block_words(stream, block, uint64(1))
    return _value64(law, a, e), _value64(law, b, f), _value64(law, c, g), _value64(law, d, h)


def far_tail64(law: FarTail64, stream: Counters, block: Wide) -> tuple[Float64, ...]:
    a, b, c, d = block_words(stream, block, uint64(0))
    e, f, g, h = block_words(stream, block, uint64(1))
    return _far_value64(law, a, e), _far_value64(law, b, f), _far_value64(law, c, g), _far_value64(law, d, h)


def truncated32_tile(
    law: Truncated32, stream: Counters, block: Wide, blocks: int, words: Any, lows: Any, values: Any
) -> None:
    draw_words(words, stream, block, uint64(0), blocks)
    for row in range(4):
        for j in range(blocks):
            values[row, j] = _value32(law, words[row, j])


def central32_tile(
    law: Central32, stream: Counters, block: Wide, blocks: int, words: Any, lows: Any, values: Any
) -> None:
    draw_words(words, stream, block, uint64(0), blocks)
    for row in range(4):
        for j in range(blocks):
            values[row, j] = _central32(law, words[row, j])


def truncated64_tile(
    law: Truncated64, stream: Counters, block: Wide, blocks: int, words: Any, lows: Any, values: Any
) -> None:
    draw_words(words, stream, block, uint64(0), blocks)
    draw_words(lows, stream, block, uint64(1), blocks)
    for row in range(4):
        for j in range(blocks):
            values[row, j] = _value64(law, words[row, j], lows[row, j])


def far_tail64_tile(
    law: FarTail64, stream: Counters, block: Wide, blocks: int, words: Any, lows: Any, values: Any
) -> None:
    draw_words(words, stream, block, uint64(0), blocks)
    draw_words(lows, stream, block, uint64(1), blocks)
    for row in range(4):
        for j in range(blocks):
            values[row, j] = _far_value64(law, words[row, j], lows[row, j])
