"""Writing what a part of a tensor, a rectangle or a comb, has in a region."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from fanin.initializers.base import Initializer, Storage
from fanin.initializers.constant import Constant
from fanin.initializers.normal import Normal
from fanin.initializers.rectangles import boxes, intersection, within
from fanin.initializers.truncated_normal import TruncatedNormal
from fanin.initializers.uniform import Uniform
from fanin.random.part import Part, Places, visible
from fanin.random.stream import Region, Stream

_SLAB = 1 << 22  # values of a comb that are drawn at a time
_PER_ROW = 96  # values that could be drawn in the time that a row of a region takes to begin
_BY_FLAT_INDEX = (Constant, Normal, TruncatedNormal, Uniform)  # any shape with the same flat indices will do


def is_seen(part: Part, region: Region, later: Sequence[Part]) -> bool:
    """Whether `part` may have values in the region: touches it, and no rectangle of `later` lies over all of that."""
    common = intersection(_around(part, region.shape), region)
    if common is None or not all(len(places) for _, places in _places(part, region)):
        return False
    return not any(not other.count and intersection(_around(other, region.shape), common) == common for other in later)


def is_covered(region: Region, parts: Sequence[Part]) -> bool:
    """Whether the parts certainly leave nothing of a region; False where to know it would be costly."""
    clipped: list[Part] = []
    for part in parts:
        common = intersection(_around(part, region.shape), region)
        if common == region and not part.count:
            return True
        if common is not None and (not part.count or region.is_whole):
            first = tuple(piece.start for piece in within(common, region))
            clipped.append(part if part.count else Part(first, common.size))
    return sum(prod(part.joined) for part in clipped) >= region.numel and visible(clipped, region.size)[1] == 0


def joined_region(part: Part, region: Region) -> Region:
    """What a part has in a region, as a region of its rectangles side by side."""
    seen = _places(part, region)
    return Region(part.joined, tuple(first for first, _ in seen), tuple(len(places) for _, places in seen))


def spread(part: Part, region: Region, shape: tuple[int, ...]) -> Region:
    """The least region of the tensor that holds a region (not empty) of the part's rectangles side by side."""
    start, end = (
        tuple(int(part.places(axis)[place]) for axis, place in enumerate(places))
        for places in (region.start, [a + n - 1 for a, n in zip(region.start, region.size, strict=True)])
    )
    return Region(shape, start, tuple(b - a + 1 for a, b in zip(start, end, strict=True)))


def fill_part(
    values: Sequence[tuple[Storage, Region]], part: Part, law: Initializer, stream: Stream, threads: int | None
) -> None:
    """Write what `part` has in each of some regions, all of which it touches, into arrays of their shapes."""
    if not law.elementwise:
        _fill_joined(values, part, law, stream, threads)
        return
    for out, region in values:
        for common, inside in _slabs(out, region, part):
            for runs in product(*(_runs(part, axis, common) for axis in range(inside.ndim))):
                _fill_teeth(inside, common, runs, law, stream, threads)


def _slabs(out: Storage, region: Region, part: Part) -> Iterator[tuple[Region, Storage]]:
    """What lies around the part in a region; cut so that scratch stays small, unless none is needed."""
    common = intersection(_around(part, region.shape), region)
    if common is None:
        return
    direct = not part.count and out[within(common, region)].flags.c_contiguous
    for box in boxes([common], {} if direct else dict.fromkeys(range(out.ndim), 1), _SLAB):
        yield box, out[within(box, region)]


def _fill_joined(
    values: Sequence[tuple[Storage, Region]], part: Part, law: Initializer, stream: Stream, threads: int | None
) -> None:
    """Write the rectangles side by side as a tensor of their own."""
    targets = [(out, _index([places for _, places in _places(part, region)])) for out, region in values]
    views = [out[place] for out, place in targets]  # copies where places do not run on
    drawn = [view if view.flags.c_contiguous else np.empty(view.shape, view.dtype) for view in views]
    law.fill_all(drawn, stream, [joined_region(part, region) for _, region in values], threads=threads)
    for (out, place), array in zip(targets, drawn, strict=True):
        if not np.may_share_memory(out, array):
            out[place] = array


@dataclass(frozen=True, slots=True)
class Run:
    """Equal teeth of a comb along one dimension: `count` times `length` elements, every `stride` from `first` on."""

    first: int
    length: int
    stride: int
    count: int

    @property
    def span(self) -> int:
        """From the first element to the last."""
        return self.stride * (self.count - 1) + self.length


def _runs(part: Part, axis: int, region: Region) -> Iterator[Run]:
    """The teeth in a region, counted from its start: whole ones together, those that it cuts by themselves."""
    stride, count = (part.stride[axis], part.count[axis]) if part.count else (1, 1)
    teeth: dict[tuple[int, int], list[int]] = {}
    for tooth in range(count):
        begin = part.start[axis] + tooth * stride - region.start[axis]
        first, last = max(begin, 0), min(begin + part.size[axis], region.size[axis])
        if first < last:
            teeth.setdefault((first - begin, last - first), []).append(first)
    for (_, length), firsts in teeth.items():
        yield Run(firsts[0], length, stride, len(firsts))


def _fill_teeth(
    out: Storage, region: Region, runs: tuple[Run, ...], law: Initializer, stream: Stream, threads: int | None
) -> None:
    """Write equal teeth in a region; each element has the number that it has in the whole tensor."""
    target, logical = _teeth(out, runs), None
    if isinstance(law, _BY_FLAT_INDEX):
        logical = _folded(region, runs)
    if logical is None:  # drawn with what lies between
        start = tuple(a + run.first for a, run in zip(region.start, runs, strict=True))
        logical = Region(region.shape, start, tuple(run.span for run in runs))
    direct = target.size == logical.numel and target.flags.c_contiguous
    values = target if direct else np.empty(logical.size, out.dtype)
    law.fill(values, stream, logical, threads=threads)
    if not direct:
        between = [Run(0, run.length, run.stride, run.count) for run in runs]
        target[...] = values.reshape(target.shape) if values.size == target.size else _teeth(values, between)


def _teeth(array: Storage, runs: Sequence[Run]) -> Storage:
    """A view of the teeth in an array, with two dimensions for each of its own: which tooth, and where in it."""
    first = array[tuple(slice(run.first, None) for run in runs)]
    shape = [extent for run in runs for extent in (run.count, run.length)]
    strides = [step for run, step in zip(runs, array.strides, strict=True) for step in (run.stride * step, step)]
    return as_strided(first, shape, strides)


def _folded(region: Region, runs: Sequence[Run]) -> Region | None:
    """The teeth as one region of a tensor with the same flat indices, or None where there is none, or no gain."""
    shape: list[int] = []
    start: list[int] = []
    size: list[int] = []
    for axis, (run, extent, begin) in enumerate(zip(runs, region.shape, region.start, strict=True)):
        stride = run.stride if run.count > 1 else max(extent, 1)
        which, place = divmod(begin + run.first, stride)
        if place + run.length > stride or (axis and extent % stride):
            return None
        shape += [-(-extent // stride), stride]
        start += [which, place]
        size += [run.count, run.length]
    last = max((axis for axis, run in enumerate(runs) if run.count > 1), default=0)
    in_a_row, between = prod(size[2 * last + 1 :]), prod(run.span for run in runs)
    gain = between * in_a_row > prod(size) * (in_a_row + _PER_ROW)
    return Region(tuple(shape), tuple(start), tuple(size)) if gain else None


def _around(part: Part, shape: tuple[int, ...]) -> Region:
    return Region(shape, part.start, tuple(b - a for a, b in zip(part.start, part.end, strict=True)))


def _places(part: Part, region: Region) -> list[tuple[int, Places]]:
    """Along each dimension, the number of the part's first place in a region, and all of them from its start."""
    seen: list[tuple[int, Places]] = []
    for axis, (first, extent) in enumerate(zip(region.start, region.size, strict=True)):
        places = part.places(axis)
        low, high = np.searchsorted(places, (first, first + extent))
        seen.append((int(low), places[low:high] - first))
    return seen


def _index(places: list[Places]) -> tuple[Any, ...]:
    """The product of indices along each dimension, with slices where they run on: those are copied faster."""
    runs = [len(each) == each[-1] - each[0] + 1 for each in places]
    if sum(not run for run in runs) > 1:
        return np.ix_(*places)
    return tuple(
        slice(int(each[0]), int(each[-1]) + 1) if run else each for each, run in zip(places, runs, strict=True)
    )
