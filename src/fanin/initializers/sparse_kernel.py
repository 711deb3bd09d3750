"""Zeros at random rows of each column.

A column marks each of its rows with a probability a little too low, one random byte per row, and then single rows
drawn at random until their number is right. Marked rows are equally likely to be any, given their number, and both
steps keep that so: the law is exact, whatever the probability.

Marks are kept for groups of 16 columns: byte 16·row + column of a group is 1 where the row is marked. Summing eight of
them at once in a 64-bit number needs no vector instructions.
"""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import Any

import numpy as np
from numba import int64, uint8, uint64
from numpy.typing import NDArray

from fanin.random.kernels.decorators import Wide, inlined, kernel
from fanin.random.kernels.fill import SOURCES, fill
from fanin.random.kernels.philox import Counters, block_words
from fanin.random.runs import Runs

GROUP = 16  # a block's four words have a byte for each column
PADDING = 8  # keeps the marks of one row in all groups from falling on the same place in the cache
_TRIES = 32  # words drawn at a time to correct a column
_CHUNK = 1 << 14  # values drawn before their zeros are set, so that they are still in the cache

Marks = NDArray[np.uint64]


@inlined
def _draw(words: Any, stream: Counters, first: Wide) -> None:
    for j in range(words.size >> 2):
        a, b, c, d = block_words(stream, first + uint64(j), uint64(0))
        words[4 * j], words[4 * j + 1], words[4 * j + 2], words[4 * j + 3] = a, b, c, d


@inlined
def _mark_below(marks: Any, threshold: Any) -> None:
    for place in range(marks.size):
        marks[place] = uint8(marks[place] < threshold)


@inlined
def _count_marks(totals: Any, eights: Any) -> None:
    """Number of marks in each of the 16 columns."""
    totals[:] = 0
    for start in range(0, eights.size, 510):  # 255 rows: the sums of bytes stay below 256
        for half in range(2):
            total = uint64(0)
            for place in range(start + half, min(start + 510, eights.size), 2):
                total += eights[place]
            for column in range(8):
                totals[8 * half + column] += int64((total >> uint64(8 * column)) & uint64(255))


@inlined
def _correct(marks: Any, column: int, surplus: int, tries: Any, stream: Counters, block: Wide) -> None:
    """Flip rows drawn at random until the column has `surplus` marks less (or more, if negative)."""
    rows, wrong, left = uint64(marks.size // GROUP), uint8(surplus > 0), abs(surplus)
    while left > 0:
        _draw(tries, stream, block)
        for word in tries:
            place = ((uint64(word) * rows) >> uint64(32)) * uint64(GROUP) + uint64(column)
            flips = left > 0 and marks[place] == wrong
            marks[place] ^= uint8(flips)
            left -= flips
        block += uint64(tries.size >> 2)


def _compile_mark_rows(sources: str) -> Callable[..., None]:
    def mark_rows(
        marks: Marks, rows: int, count: int, marking: Counters, correcting: Counters, first: int, last: int
    ) -> None:
        _ = sources  # part of the cache key, as in fanin.random.kernels.fill
        aim = count - sqrt(count) * (1 - 2 * count / rows)  # to add marks is quicker than to take them
        threshold = uint8(int(256 * aim / rows))
        totals, tries = np.empty(GROUP, np.int64), np.empty(_TRIES, np.uint32)
        for group in range(first, last):
            eights = marks[group, : 2 * rows]
            _draw(eights.view(np.uint32), marking, uint64(group) * uint64(rows))
            _mark_below(eights.view(np.uint8), threshold)
            _count_marks(totals, eights)
            for column in range(GROUP):
                block = uint64(group * GROUP + column) << uint64(32)
                _correct(eights.view(np.uint8), column, totals[column] - count, tries, correcting, block)

    return kernel(mark_rows)


mark_rows = _compile_mark_rows(SOURCES)
"""mark_rows(marks, rows, count, marking, correcting, first, last) marks `count` ≤ rows/2 random rows in each column of
the groups first … last−1. `marks` is [groups, 2·rows + PADDING].

Byte c of block group·rows + row of the stream `marking` is compared for column c; a row tried to correct a column is
picked as word·rows/2³², biased by less than rows/2³².
"""


@inlined
def _zero_marked(line: Any, marks: Marks, row: int, erased: Any, eights: Marks) -> None:
    for group in range(marks.shape[0]):
        eights[2 * group], eights[2 * group + 1] = marks[group, 2 * row], marks[group, 2 * row + 1]
    flags = eights.view(np.uint8)
    for column in range(line.size):
        value = line[column]
        line[column] = line.dtype.type(0) if flags[column] == erased else value


def _compile_draw(sources: str) -> Callable[..., None]:
    def draw(
        lines: NDArray[Any], law: Any, stream: Counters, runs: Runs, marks: Marks, erased: bool, first: int, last: int
    ) -> None:
        _ = sources
        columns, groups = lines.shape[1], -(-lines.shape[1] // GROUP)
        rows = len(lines) // (len(marks) // groups)
        together = max(1, _CHUNK // columns)
        eights = np.empty(2 * groups, np.uint64)
        for start in range(first, last, together):
            end = min(start + together, last)
            fill(lines.reshape(-1), law, stream, runs, start * columns, end * columns)
            for place in range(start, end):
                group = place // rows * groups
                _zero_marked(lines[place], marks[group : group + groups], place % rows, uint8(erased), eights)

    return kernel(draw)


draw = _compile_draw(SOURCES)
"""draw(lines, law, stream, runs, marks, erased, first, last) fills lines first … last−1 with values of the law, but
zeros where the mark is `erased`. The lines are the rows of all matrices; `runs` is all of them."""
