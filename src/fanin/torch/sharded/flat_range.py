"""A run of a flattened tensor as rectangles of the tensor."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from fanin.random.stream import Region

Rectangle = tuple[tuple[int, ...], tuple[int, ...]]


def flat_range(shape: tuple[int, ...], first: int, end: int) -> Iterator[Region]:
    """The rectangles that elements first … end − 1 of the flattened tensor are, in that order; at most 2·rank − 1.

    >>> [(region.start, region.size) for region in flat_range((4, 6), 4, 20)]
    [((0, 4), (1, 2)), ((1, 0), (2, 6)), ((3, 0), (1, 2))]
    """
    for start, size in _rectangles(shape, first, end):
        yield Region(shape, start, size)


def _rectangles(shape: tuple[int, ...], first: int, end: int) -> Iterator[Rectangle]:
    if first >= end:
        return
    if len(shape) < 2:
        yield (first,) * len(shape), (end - first,) * len(shape)
        return
    row = prod(shape[1:])
    head, tail = -(-first // row), end // row
    if head > tail:  # inside one row
        yield from _in_row(shape, tail, first, end)
        return
    yield from _in_row(shape, head - 1, first, head * row)
    if head < tail:
        yield (head, *(0,) * (len(shape) - 1)), (tail - head, *shape[1:])
    yield from _in_row(shape, tail, tail * row, end)


def _in_row(shape: tuple[int, ...], row: int, first: int, end: int) -> Iterator[Rectangle]:
    begin = row * prod(shape[1:])
    for start, size in _rectangles(shape[1:], first - begin, end - begin):
        yield (row, *start), (1, *size)
