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
Places = NDArray[np.intp]


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
        marks: Marks,
        numbers: Places,
        rows: int,
        count: int,
        marking: Counters,
        correcting: Counters,
        first: int,
        last: int,
    ) -> None:
        _ = sources  # part of the cache key, as in fanin.random.kernels.fill
        aim = count - sqrt(count) * (1 - 2 * count / rows)  # to add marks is quicker than to take them
        threshold = uint8(int(256 * aim / rows))
        totals, tries = np.empty(GROUP, np.int64), np.empty(_TRIES, np.uint32)
        for place in range(first, last):
            eights, group = marks[place, : 2 * rows], numbers[place]
            _draw(eights.view(np.uint32), marking, uint64(group) * uint64(rows))
            _mark_below(eights.view(np.uint8), threshold)
            _count_marks(totals, eights)
            for column in range(GROUP):
                block = uint64(group * GROUP + column) << uint64(32)
                _correct(eights.view(np.uint8), column, totals[column] - count, tries, correcting, block)

    return kernel(mark_rows)


mark_rows = _compile_mark_rows(SOURCES)
"""mark_rows(marks, numbers, rows, count, marking, correcting, first, last) marks `count` ≤ rows/2 random rows in each
column of the groups number numbers[first] … numbers[last−1]. `marks` is [groups, 2·rows + PADDING].

Byte c of block group·rows + row of the stream `marking` is compared for column c; a row tried to correct a column is
picked as word·rows/2³², biased by less than rows/2³².
"""


@inlined
def _zero_marked(line: Any, marks: Marks, row: int, slots: Places, erased: Any, eights: Marks) -> None:
    """Zero the columns whose byte at `slots` is `erased` in a row of the marks."""
    for group in range(marks.shape[0]):
        eights[2 * group], eights[2 * group + 1] = marks[group, 2 * row], marks[group, 2 * row + 1]
    flags = eights.view(np.uint8)
    if slots[-1] - slots[0] == slots.size - 1:
        _zero(line, flags[slots[0] : slots[-1] + 1], erased)
    else:
        _zero(line, flags[slots], erased)


@inlined
def _zero(line: Any, flags: Any, erased: Any) -> None:
    for column in range(line.size):
        value = line[column]
        line[column] = line.dtype.type(0) if flags[column] == erased else value


def _compile_draw(sources: str) -> Callable[..., None]:
    def draw(
        lines: NDArray[Any],
        law: Any,
        stream: Counters,
        runs: Runs,
        marks: Marks,
        erased: bool,
        begins: Places,
        rows: Places,
        slots: Places,
        first: int,
        last: int,
    ) -> None:
        _ = sources
        columns, groups = lines.shape[1], slots[-1] // GROUP + 1
        together = max(1, _CHUNK // columns)
        key = stream.key1 << uint64(32) | stream.key0
        eights = np.empty(2 * groups, np.uint64)
        for start in range(first, last, together):
            end = min(start + together, last)
            flat, begin, stop = lines.reshape(-1), start * columns, end * columns
            fill(flat, law, key, stream.lane, runs.length, runs.offset, runs.extents, runs.strides, begin, stop)
            for place in range(start, end):
                group, row = begins[place // rows.size], rows[place % rows.size]
                _zero_marked(lines[place], marks[group : group + groups], row, slots, uint8(erased), eights)

    return kernel(draw)


draw = _compile_draw(SOURCES)
"""draw(lines, law, stream, runs, marks, erased, begins, rows, slots, first, last) fills lines first … last−1 with
values of the law, but zeros where the mark is `erased`.

The lines are the rows of a region, `runs`: numbers `rows` of one matrix after the other, whose groups of marks start at
`begins`. Column j of the lines has byte slots[j] of a row of the marks.
"""
