"""The raw words."""

from __future__ import annotations

from numba import uint64

from fanin.random.kernels.decorators import Wide
from fanin.random.kernels.philox import Counters, Words, block_words
from fanin.random.laws import RawWords


def raw_values(law: RawWords, stream: Counters, block: Wide) -> Words:
    return block_words(stream, block, uint64(law.half))
