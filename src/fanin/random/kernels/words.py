"""The raw words."""

from __future__ import annotations

from typing import Any

from numba import uint64

from fanin.random.kernels.decorators import Wide
from fanin.random.kernels.philox import Counters, Words, block_words, draw_words
from fanin.random.laws import RawWords


def raw_values(law: RawWords, stream: Counters, block: Wide) -> Words:
    return block_words(stream, block, uint64(law.half))


def raw_values_tile(
    law: RawWords, stream: Counters, block: Wide, blocks: int, words: Any, lows: Any, values: Any
) -> None:
    draw_words(values, stream, block, uint64(law.half), blocks)
