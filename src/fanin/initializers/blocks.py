"""A law of which parts are overwritten by others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import prod, sqrt
from typing import Any

import numpy as np

from fanin.errors import ArgumentError
from fanin.initializers.base import Initializer, Storage, check_storage
from fanin.random.part import Part, Places, visible
from fanin.random.stream import Region, Stream

_LANES = 16  # lanes of a stream that one part's law may use itself

_SLAB = 1 << 20

PartLaw = (
    tuple[tuple[int, ...], tuple[int, ...], Initializer]
    | tuple[tuple[int, ...], tuple[int, ...], Initializer, tuple[int, ...], tuple[int, ...]]
)


@dataclass(frozen=True, slots=True)
class Blocks(Initializer):
    """`base` everywhere, then each part [start, start + size) under its own law; a later part wins.

    Packed projections, an embedding's padding row, the forget gate of an LSTM's bias. Elementwise laws take the
    random numbers of the whole tensor at their own indices, so that splitting a tensor into parts of one law changes
    no value; other laws see the part as a tensor of its own (shape `size`), on lanes of their own. A comb of equal
    rectangles, as interleaved heads store their queries, is one part: its rectangles side by side are one tensor.

    Args:
        base: the law outside the parts.
        parts: (start, size, law) of each hyper-rectangle, in elements; for a comb (start, size, law, stride, count)
            with the distance between rectangles and their number along each dimension.

    Raises:
        ArgumentError: a start and a size of different rank; at fill, a part that leaves the tensor.

    >>> from fanin.initializers import Constant, Normal
    >>> padded = Blocks(Normal(), parts=(((0, 0), (1, 4), Constant(0.0)),))
    >>> round(padded.moments((4, 4))[1] ** 2, 6)
    0.75
    """

    base: Initializer
    parts: tuple[PartLaw, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "base", _law(self.base))
        object.__setattr__(self, "parts", tuple(_part(*part) for part in self.parts))

    @property
    def elementwise(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether all its laws are."""
        return self.base.elementwise and all(law.elementwise for _, _, law, *_ in self.parts)

    @property
    def pieces(self) -> tuple[tuple[Part, Initializer], ...]:
        """Each part with its law."""
        return tuple((Part(start, size, *comb), law) for start, size, law, *comb in self.parts)

    def fill(self, out: Storage, stream: Stream, region: Region, *, threads: int | None = None) -> None:
        check_storage(out, region)
        pieces = self.pieces
        for part, _ in pieces:
            Region(region.shape, part.start, tuple(b - a for a, b in zip(part.start, part.end, strict=True)))
        self.base.fill(out, stream, region, threads=threads)
        for number, (part, law) in enumerate(pieces):
            own = stream if law.elementwise else replace(stream, lane=stream.lane + _LANES * (number + 1))
            for rows in _slabs(region) if part.count and law.elementwise else (slice(None),):
                _fill_part(out.reshape(region.size)[rows], law, own, _rows_of(region, rows), part, threads)

    def moments(self, shape: tuple[int, ...]) -> tuple[float, float]:
        counts, rest = visible([part for part, _ in self.pieces], shape)
        laws = [*((law, part.joined) for part, law in self.pieces), (self.base, shape)]
        mean = square = 0.0
        for (law, size), count in zip(laws, [*counts, rest], strict=True):
            share = count / max(prod(shape), 1)
            centre, spread = law.moments(size) if count else (0.0, 0.0)
            mean, square = mean + share * centre, square + share * (centre * centre + spread * spread)
        return mean, sqrt(max(square - mean * mean, 0.0))

    def covered(self, shape: tuple[int, ...]) -> bool:
        """Whether the parts leave nothing of a tensor of this shape to the base law."""
        return visible([part for part, _ in self.pieces], shape)[1] == 0

    def describe(self) -> str:
        """The base law, and each part with its law."""
        return f"{self.base.describe()} with " + ", ".join(
            f"{_slices(part)} = {law.describe()}" for part, law in self.pieces
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON form, laws nested."""
        parts = [[list(start), list(size), law.to_dict(), *map(list, comb)] for start, size, law, *comb in self.parts]
        return {"law": "Blocks", "base": self.base.to_dict(), "parts": parts}


def _law(law: Any) -> Initializer:
    if isinstance(law, Mapping):
        return _read(dict(law))  # pyright: ignore[reportUnknownArgumentType]
    if not isinstance(law, Initializer):
        raise ArgumentError(f"Blocks: every law must be an initializer, got {law!r}")
    return law


def _read(law: dict[str, Any]) -> Initializer:
    try:
        return Initializer.from_dict(law)
    except RecursionError:
        raise ArgumentError("Blocks: laws are nested too deeply") from None


def _part(start: Any, size: Any, law: Any, stride: Any = (), count: Any = ()) -> PartLaw:
    try:
        part = Part(start, size, stride, count)
    except ArgumentError as error:
        raise ArgumentError(f"Blocks: {error}") from None
    if all(times == 1 for times in part.count):
        return part.start, part.size, _law(law)
    return part.start, part.size, _law(law), part.stride, part.count


def _slabs(region: Region) -> Iterator[slice]:
    """Runs of rows of about `_SLAB` values: what a comb is drawn with stays small."""
    step = max(1, _SLAB // max(prod(region.size[1:]), 1))
    for first in range(0, region.size[0], step):
        yield slice(first, min(first + step, region.size[0]))


def _rows_of(region: Region, rows: slice) -> Region:
    if rows == slice(None):
        return region
    start, size = (region.start[0] + rows.start, *region.start[1:]), (rows.stop - rows.start, *region.size[1:])
    return Region(region.shape, start, size)


def _fill_part(
    target: Storage, law: Initializer, stream: Stream, region: Region, part: Part, threads: int | None
) -> None:
    """Write what `part` has in `region`."""
    seen = [
        _inside(part.places(axis), first, n)
        for axis, (first, n) in enumerate(zip(region.start, region.size, strict=True))
    ]
    if not all(len(places) for _, places in seen):
        return
    rectangle = not part.count
    slices = tuple(slice(int(places[0]), int(places[-1]) + 1) for _, places in seen)
    if law.elementwise:
        # Each element has the number that it has in the whole tensor, so a comb is drawn with what lies between.
        start = tuple(a + piece.start for a, piece in zip(region.start, slices, strict=True))
        logical = Region(region.shape, start, tuple(piece.stop - piece.start for piece in slices))
    else:
        logical = Region(part.joined, tuple(first for first, _ in seen), tuple(len(places) for _, places in seen))
    inside = target[slices]
    if rectangle and inside.flags.c_contiguous:
        law.fill(inside, stream, logical, threads=threads)
        return
    buffer = np.empty(logical.size, target.dtype)
    law.fill(buffer, stream, logical, threads=threads)
    if rectangle:
        inside[...] = buffer
        return
    teeth = _index([places - places[0] for _, places in seen])
    inside[teeth] = buffer[teeth] if law.elementwise else buffer


def _index(places: list[Places]) -> tuple[Any, ...]:
    """The product of indices along each dimension, with slices where they run on: those are copied faster."""
    runs = [len(each) == each[-1] - each[0] + 1 for each in places]
    if sum(not run for run in runs) > 1:
        return np.ix_(*places)
    return tuple(slice(None) if run else each for each, run in zip(places, runs, strict=True))


def _inside(places: Places, first: int, extent: int) -> tuple[int, Places]:
    """Which of ascending places lie in [first, first + extent): the number of the first one, and all from there."""
    low, high = np.searchsorted(places, (first, first + extent))
    return int(low), places[low:high] - first


def _slices(part: Part) -> str:
    def along(axis: int) -> str:
        run = f"{part.start[axis]}:{part.start[axis] + part.size[axis]}"
        several = part.count and part.count[axis] > 1
        return f"{run} and {part.count[axis] - 1} more every {part.stride[axis]}" if several else run

    return "[" + ", ".join(along(axis) for axis in range(len(part.start))) + "]"
