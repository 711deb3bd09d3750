"""Zeros at random rows of each column."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fanin.random.kernels.decorators import inlined, kernel

TILE = 128  # columns handled together: a tile's mask stays in the cache, its rows are read by whole lines


@kernel
def zero_random_rows(values: NDArray[Any], words: NDArray[np.uint32], count: int) -> None:
    """Set `count` random rows of each column of `values` [rows, columns] to zero.

    The first steps of a Fisher-Yates shuffle, one word each ([columns, steps]), draw min(count, rows − count) rows: the
    zeros, or else those to keep. A row is picked as word·rows/2³², biased by less than rows/2³².
    """
    rows, columns = values.shape
    order = np.empty(rows, np.uint32)
    keep = np.empty((rows, TILE), np.bool_)
    for start in range(0, columns, TILE):
        width = min(TILE, columns - start)
        keep[:] = 2 * count <= rows
        for column in range(width):
            _draw_rows(keep, column, order, words[start + column], 2 * count > rows)
        for row in range(rows):
            line, kept = values[row, start : start + width], keep[row]
            for column in range(width):
                line[column] = line[column] if kept[column] else line.dtype.type(0)


@inlined
def _draw_rows(keep: NDArray[Any], column: int, order: Any, words: Any, mark: bool) -> None:
    for row in range(order.size):
        order[row] = row
    for step in range(words.size):
        here = np.uint64(step)
        pick = here + ((np.uint64(words[step]) * np.uint64(order.size - step)) >> np.uint64(32))
        keep[np.uint64(order[pick]), column] = mark
        order[pick] = order[here]
