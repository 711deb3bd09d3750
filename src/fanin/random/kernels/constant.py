"""The same value everywhere."""

from __future__ import annotations

from typing import Any

from fanin.random.kernels.decorators import Wide
from fanin.random.kernels.philox import Counters


def same_value(law: Any, stream: Counters, block: Wide) -> tuple[Any, ...]:
    return law.value, law.value, law.value, law.value


def same_value_tile(law: Any, stream: Counters, block: Wide, blocks: int, words: Any, lows: Any, values: Any) -> None:
    for row in range(4):
        for j in range(blocks):
            values[row, j] = law.value
