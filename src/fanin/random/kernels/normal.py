"""Normal values: Box and Muller, "A note on the generation of random normal deviates", 1958.

Of each pair of words the first gives the radius √(−2 ln u), its full 32 (float64: 53) bits reaching 6.7σ (8.5σ),
the second the angle: two bits choose the quarter circle, the others the place on its arc of ±π/4.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import float32, float64, uint32, uint64

from fanin.random.kernels.decorators import Float32, Float64, Wide, Word, inlined
from fanin.random.kernels.math32 import minus_two_log32, sin_cos32, with_sign32
from fanin.random.kernels.math64 import minus_two_log64, sin_cos64, with_sign64
from fanin.random.kernels.philox import Counters, block_words, draw_words
from fanin.random.kernels.uniform import signed_unit32, signed_unit64
from fanin.random.laws import Normal32, Normal64

_SWAP = np.uint32(0x40000000)


@inlined
def _pair32(law: Normal32, radius_word: Word, angle_word: Word) -> tuple[Float32, Float32]:
    u = (float32(radius_word) + float32(0.5)) * float32(2.0**-32)
    radius = np.sqrt(minus_two_log32(u))
    sine, cosine = sin_cos32(signed_unit32(uint32(angle_word << uint32(2))))
    cosine = with_sign32(cosine, angle_word)
    swap = uint32(angle_word & _SWAP) != uint32(0)
    first, second = (sine, cosine) if swap else (cosine, sine)
    return law.mean + law.std * (radius * first), law.mean + law.std * (radius * second)


@inlined
def _pair64(
    law: Normal64, radius_word: Word, radius_low: Word, angle_word: Word, angle_low: Word
) -> tuple[Float64, Float64]:
    cell = (uint64(radius_word) << uint64(21)) | (uint64(radius_low) >> uint64(11))
    radius = np.sqrt(minus_two_log64((float64(cell) + 0.5) * 2.0**-53))
    shifted = uint32(uint32(angle_word << uint32(2)) | uint32(angle_low >> uint32(30)))
    sine, cosine = sin_cos64(signed_unit64(shifted, uint32(angle_low << uint32(2))))
    cosine = with_sign64(cosine, uint32(angle_word >> uint32(31)) != uint32(0))
    swap = uint32(angle_word & _SWAP) != uint32(0)
    first, second = (sine, cosine) if swap else (cosine, sine)
    return law.mean + law.std * (radius * first), law.mean + law.std * (radius * second)


def normal32(law: Normal32, stream: Counters, block: Wide) -> tuple[Float32, ...]:
    a, b, c, d = block_words(stream, block, uint64(0))
    return _pair32(law, a, b) + _pair32(law, c, d)


def normal64(law: Normal64, stream: Counters, block: Wide) -> tuple[Float64, ...]:
    a, b, c, d = block_words(stream, block, uint64(0))
    e, f, g, h = block_words(stream, block, uint64(1))
    return _pair64(law, a, e, b, f) + _pair64(law, c, g, d, h)


def normal32_tile(
    law: Normal32, stream: Counters, block: Wide, blocks: int, words: Any, lows: Any, values: Any
) -> None:
    draw_words(words, stream, block, uint64(0), blocks)
    for row in range(0, 4, 2):
        for j in range(blocks):
            pair = _pair32(law, words[row, j], words[row + 1, j])
            values[row, j], values[row + 1, j] = pair


def normal64_tile(
    law: Normal64, stream: Counters, block: Wide, blocks: int, words: Any, lows: Any, values: Any
) -> None:
    draw_words(words, stream, block, uint64(0), blocks)
    draw_words(lows, stream, block, uint64(1), blocks)
    for row in range(0, 4, 2):
        for j in range(blocks):
            pair = _pair64(law, words[row, j], lows[row, j], words[row + 1, j], lows[row + 1, j])
            values[row, j], values[row + 1, j] = pair
