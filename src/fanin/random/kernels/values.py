"""The values of a tile, under whichever law."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from numba.extending import overload

from fanin.random.kernels.constant import same_value, same_value_tile
from fanin.random.kernels.decorators import INLINED, Wide
from fanin.random.kernels.normal import normal32, normal32_tile, normal64, normal64_tile
from fanin.random.kernels.philox import Counters
from fanin.random.kernels.truncated import (
    central32,
    central32_tile,
    far_tail64,
    far_tail64_tile,
    truncated32,
    truncated32_tile,
    truncated64,
    truncated64_tile,
)
from fanin.random.kernels.uniform import uniform32, uniform32_tile, uniform64, uniform64_tile
from fanin.random.kernels.words import raw_values, raw_values_tile
from fanin.random.laws import (
    Central32,
    Constant32,
    Constant64,
    FarTail64,
    Normal32,
    Normal64,
    RawWords,
    Truncated32,
    Truncated64,
    Uniform32,
    Uniform64,
)

VALUES: dict[type, Callable[..., Any]] = {
    RawWords: raw_values,
    Constant32: same_value,
    Constant64: same_value,
    Uniform32: uniform32,
    Uniform64: uniform64,
    Normal32: normal32,
    Normal64: normal64,
    Truncated32: truncated32,
    Central32: central32,
    Truncated64: truncated64,
    FarTail64: far_tail64,
}
"""The values of elements 4·block … 4·block+3 under a law: f(law, stream, block), for `fanin.torch.device`."""

TILES: dict[type, Callable[..., Any]] = {
    RawWords: raw_values_tile,
    Constant32: same_value_tile,
    Constant64: same_value_tile,
    Uniform32: uniform32_tile,
    Uniform64: uniform64_tile,
    Normal32: normal32_tile,
    Normal64: normal64_tile,
    Truncated32: truncated32_tile,
    Central32: central32_tile,
    Truncated64: truncated64_tile,
    FarTail64: far_tail64_tile,
}
"""What `draw_values` calls: the same for a tile, in loops over each row that can be vectorised."""


def draw_values(
    law: NamedTuple, stream: Counters, block: Wide, blocks: int, words: Any, lows: Any, values: Any
) -> None:
    """Values of the elements of `blocks` blocks from `block` on under `law`, in compiled code.

    Element 4·j + r of them goes to values[r, j]; `words` and `lows` are room for as many words.
    """
    TILES[type(law)](law, stream, block, blocks, words, lows, values)


@overload(draw_values, jit_options=INLINED, strict=False)
def _draw_values(
    law: Any, stream: Any, block: Any, blocks: Any, words: Any, lows: Any, values: Any
) -> Callable[..., Any]:
    return TILES[law.instance_class]
