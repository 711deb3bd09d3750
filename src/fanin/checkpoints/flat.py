"""Runs of consecutive elements as rectangles."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from fanin.random.stream import Region


def rectangles(shape: tuple[int, ...], first: int, last: int) -> Iterator[Region]:
    """Elements first … last−1 of a row-major tensor as rectangles, each of consecutive elements, in that order.

    >>> [(each.start, each.size) for each in rectangles((4, 3), 2, 11)]
    [((0, 2), (1, 1)), ((1, 0), (2, 3)), ((3, 0), (1, 2))]
    """
    if first < last:
        for start, size in _cut(shape, first, last):
            yield Region(shape, start, size)


def _cut(shape: tuple[int, ...], first: int, last: int) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    if not shape:
        yield (), ()
        return
    row = prod(shape[1:])
    whole, end = -(-first // row), last // row  # the whole rows
    if whole > end:
        yield from _in_row(shape, end, first, last)
        return
    if first < whole * row:
        yield from _in_row(shape, whole - 1, first, whole * row)
    if whole < end:
        yield (whole, *(0 for _ in shape[1:])), (end - whole, *shape[1:])
    if end * row < last:
        yield from _in_row(shape, end, end * row, last)


def _in_row(
    shape: tuple[int, ...], row: int, first: int, last: int
) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    begin = row * prod(shape[1:])
    for start, size in _cut(shape[1:], first - begin, last - begin):
        yield (row, *start), (1, *size)
