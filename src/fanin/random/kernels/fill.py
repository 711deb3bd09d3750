"""The one kernel: a law's values at a run of output positions, whatever part of the tensor they are."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numba import uint64

from fanin.random.kernels.decorators import kernel, spliced
from fanin.random.kernels.philox import Counters
from fanin.random.kernels.stored import converts, stored, target
from fanin.random.kernels.values import block_values
from fanin.random.runs import Runs

_TILE_BLOCKS = 512


@spliced
def _row_start(runs: Runs, row: int) -> int:
    flat = runs.offset
    for d in range(runs.extents.size - 1, -1, -1):
        flat += (row % runs.extents[d]) * runs.strides[d]
        row //= runs.extents[d]
    return flat


@spliced
def _draw_blocks(tile: Any, law: Any, stream: Counters, first: int, count: int) -> None:
    for j in range(count):
        a, b, c, d = block_values(law, stream, uint64(first + j))
        tile[4 * j], tile[4 * j + 1], tile[4 * j + 2], tile[4 * j + 3] = a, b, c, d


@spliced
def _store(out: Any, tile: Any) -> None:
    for j in range(out.size):
        out[j] = stored(out, tile[j])


@spliced
def _fill_run(out: Any, at: int, law: Any, stream: Counters, flat: int, count: int, tile: Any) -> None:
    """Elements flat … flat+count−1 of the tensor into out[at:], a tile of whole blocks at a time."""
    block, skip = flat >> 2, flat & 3
    while count > 0:
        blocks = min(_TILE_BLOCKS, (skip + count + 3) >> 2)
        done = min(count, 4 * blocks - skip)
        room = out[at : at + done]
        drawn = target(room, tile) if done == 4 * blocks else tile
        _draw_blocks(drawn, law, stream, block, blocks)
        if done < 4 * blocks or converts(room, tile):
            _store(room, tile[skip : skip + done])
        at, count, block, skip = at + done, count - done, block + blocks, 0


def _compile_fill(sources: str) -> Callable[..., None]:
    def fill(out: Any, law: Any, stream: Counters, runs: Runs, first: int, last: int) -> None:
        _ = sources  # part of the cache key: Numba itself notices changes of this file only
        tile = np.full(4 * _TILE_BLOCKS, law[0])
        at = first
        while at < last:
            row, column = at // runs.length, at % runs.length
            count = min(runs.length - column, last - at)
            _fill_run(out, at, law, stream, _row_start(runs, row) + column, count, tile)
            at += count

    return kernel(fill)


def _digest() -> str:
    texts = (path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
    return blake2b(b"".join(texts), digest_size=16).hexdigest()


SOURCES = _digest()
"""What the machine code of these kernels is made from."""

fill = _compile_fill(SOURCES)
"""fill(out, law, stream, runs, first, last) writes positions first … last−1 of the flat array `out`.

The first number of a law has the dtype the law computes in.
"""
