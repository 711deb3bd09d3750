"""Regions of one tensor against each other: what they share, and the boxes that cover them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise, product
from typing import Any

from numpy.typing import NDArray

from fanin.random.stream import Region


def intersection(a: Region, b: Region) -> Region | None:
    """What two regions of one tensor share, or None.

    >>> intersection(Region((9,), (0,), (5,)), Region((9,), (3,), (6,)))
    Region(shape=(9,), start=(3,), size=(2,))
    """
    starts = tuple(map(max, a.start, b.start))
    ends = tuple(map(min, _end(a), _end(b)))
    if any(first >= last for first, last in zip(starts, ends, strict=True)):
        return None
    return Region(a.shape, starts, tuple(last - first for first, last in zip(starts, ends, strict=True)))


def hull(regions: Sequence[Region]) -> Region:
    """The least region that contains all of `regions` (at least one).

    >>> hull([Region((9, 4), (0, 2), (5, 1)), Region((9, 4), (7, 0), (1, 1))])
    Region(shape=(9, 4), start=(0, 0), size=(8, 3))
    """
    start = tuple(map(min, zip(*(region.start for region in regions), strict=True)))
    end = tuple(map(max, zip(*(_end(region) for region in regions), strict=True)))
    return Region(regions[0].shape, start, tuple(last - first for first, last in zip(start, end, strict=True)))


def within(inner: Region, outer: Region) -> tuple[slice, ...]:
    """The place of `inner` in an array that holds `outer`.

    >>> within(Region((9,), (4,), (2,)), Region((9,), (3,), (5,)))
    (slice(1, 3, None),)
    """
    first = (a - b for a, b in zip(inner.start, outer.start, strict=True))
    return tuple(slice(begin, begin + count) for begin, count in zip(first, inner.size, strict=True))


def shares(parts: Iterable[tuple[NDArray[Any], Region]], box: Region) -> Iterator[tuple[NDArray[Any], Region]]:
    """What arrays, each with its region and of its shape, have of a box: a view, and its region."""
    for out, region in parts:
        common = intersection(region, box)
        if common is not None:
            yield out[within(common, region)], common


def boxes(regions: Sequence[Region], units: Mapping[int, int], most: int) -> Iterator[Region]:
    """Disjoint boxes that cover `regions`, cut along the dimensions `units` alone, elsewhere as long as their hull.

    A box touches a region or lies in it along the dimensions `units`; it is cut into smaller ones of at most `most`
    elements, or of one unit along each of these dimensions. Regions begin and end at multiples of the units.

    >>> whole = Region.whole((4, 6))
    >>> [(box.start, box.size) for box in boxes([whole], {0: 2}, most=12)]
    [((0, 0), (2, 6)), ((2, 0), (2, 6))]
    """
    regions = [region for region in regions if region.numel]
    if not regions:
        return
    around = hull(regions)
    edges = [
        sorted({*(region.start[axis] for region in regions), *(_end(region)[axis] for region in regions)})
        if axis in units
        else [around.start[axis], _end(around)[axis]]
        for axis in range(len(around.shape))
    ]
    for cell in product(*map(pairwise, edges)):
        start, size = tuple(first for first, _ in cell), tuple(last - first for first, last in cell)
        box = Region(around.shape, start, size)
        if any(intersection(box, region) for region in regions):
            yield from _cut(box, list(units.items()), most)


def _cut(box: Region, units: list[tuple[int, int]], most: int) -> Iterator[Region]:
    if box.numel <= most or not units:
        yield box
        return
    (axis, unit), *rest = units
    first, extent = box.start[axis], box.size[axis]
    step = max(most * extent // box.numel // unit, 1) * unit
    for begin in range(first, first + extent, step):
        start, size = list(box.start), list(box.size)
        start[axis], size[axis] = begin, min(step, first + extent - begin)
        yield from _cut(replace(box, start=tuple(start), size=tuple(size)), rest, most)


def _end(region: Region) -> tuple[int, ...]:
    return tuple(first + count for first, count in zip(region.start, region.size, strict=True))
