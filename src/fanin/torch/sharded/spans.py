"""One dimension of a tensor split over processes: which of its indices one of them holds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple


class Span(NamedTuple):
    """`length` consecutive indices from `first`."""

    first: int
    length: int


Spans = tuple[Span, ...]
"""Indices of one dimension, in the order in which they are held; none is empty, and no two touch."""


@dataclass(frozen=True, slots=True)
class Split:
    """One split of a dimension: `parts` chunks, of which a process holds number `index`.

    Each chunk has ceil(n / parts) indices until they run out, as in `torch.chunk`. With `interleaved` > 1 the dimension
    is first cut into that many chunks and each of these into `parts`; the process holds its part of every one.
    """

    parts: int
    index: int
    interleaved: int = 1


def split(length: int, splits: Iterable[Split]) -> Spans:
    """Which of `length` indices remain after the splits, each of what the ones before it left.

    >>> split(10, [Split(4, 1)]), split(10, [Split(4, 3)])
    ((Span(first=3, length=3),), (Span(first=9, length=1),))
    >>> split(8, [Split(2, 0, interleaved=2)])
    (Span(first=0, length=2), Span(first=4, length=2))
    """
    held: Spans = (Span(0, length),) if length else ()
    for each in splits:
        total = extent(held)
        outer = (_chunk(0, total, each.interleaved, number) for number in range(each.interleaved))
        inner = (_chunk(chunk.first, chunk.length, each.parts, each.index) for chunk in outer)
        held = _joined(span for chunk in inner for span in _cut(held, chunk))
    return held


def extent(spans: Spans) -> int:
    """How many indices they are."""
    return sum(span.length for span in spans)


def rectangles(dimensions: Iterable[Spans]) -> Iterable[tuple[tuple[Span, ...], tuple[int, ...]]]:
    """The rectangles of a product of spans: where each lies in the whole, and where it starts among what is held.

    >>> list(rectangles([(Span(0, 2), Span(4, 2)), (Span(3, 5),)]))[1]
    ((Span(first=4, length=2), Span(first=3, length=5)), (2, 0))
    """
    placed = [_placed(spans) for spans in dimensions]
    for chosen in product(*placed):
        yield tuple(span for span, _ in chosen), tuple(local for _, local in chosen)


def _placed(spans: Spans) -> list[tuple[Span, int]]:
    found: list[tuple[Span, int]] = []
    local = 0
    for span in spans:
        found.append((span, local))
        local += span.length
    return found


def _chunk(first: int, length: int, parts: int, index: int) -> Span:
    """Chunk number `index` of `parts` of [first, first + length), as `torch.chunk` cuts."""
    size = -(-length // parts)
    start = min(index * size, length)
    return Span(first + start, min(size, length - start))


def _cut(held: Spans, part: Span) -> Iterable[Span]:
    """Those of the held indices that are numbers part.first … part.first + part.length − 1 among them."""
    for span, local in _placed(held):
        first, end = max(local, part.first), min(local + span.length, part.first + part.length)
        if first < end:
            yield Span(span.first + first - local, end - first)


def _joined(spans: Iterable[Span]) -> Spans:
    joined: list[Span] = []
    for span in spans:
        if joined and joined[-1].first + joined[-1].length == span.first:
            joined[-1] = Span(joined[-1].first, joined[-1].length + span.length)
        else:
            joined.append(span)
    return tuple(joined)
