"""A law of which parts are overwritten by others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod, sqrt
from typing import Any

import numpy as np

from fanin.errors import ArgumentError
from fanin.initializers.base import Initializer, Storage, check_storage
from fanin.random.stream import Region, Stream

_LANES = 16  # lanes of a stream that one part's law may use itself

Box = tuple[tuple[int, ...], tuple[int, ...]]
PartLaw = tuple[tuple[int, ...], tuple[int, ...], Initializer]


@dataclass(frozen=True, slots=True)
class Blocks(Initializer):
    """`base` everywhere, then each part [start, start + size) under its own law; a later part wins.

    Packed projections, an embedding's padding row, the forget gate of an LSTM's bias. Elementwise laws take the
    random numbers of the whole tensor at their own indices, so that splitting a tensor into parts of one law changes
    no value; other laws see the part as a tensor of its own (shape `size`), on lanes of their own.

    Args:
        base: the law outside the parts.
        parts: (start, size, law) of each hyper-rectangle, in elements.

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

    def fill(self, out: Storage, stream: Stream, region: Region, *, threads: int | None = None) -> None:
        check_storage(out, region)
        places = [Region(region.shape, start, size) for start, size, _ in self.parts]
        self.base.fill(out, stream, region, threads=threads)
        for number, (place, (_, _, law)) in enumerate(zip(places, self.parts, strict=True)):
            shared = _shared(region, place)
            if shared.numel:
                own = stream if law.elementwise else replace(stream, lane=stream.lane + _LANES * (number + 1))
                _fill_part(out, law, own, region, place, shared, threads)

    def moments(self, shape: tuple[int, ...]) -> tuple[float, float]:
        whole = ((0,) * len(shape), shape, self.base)
        seen: list[Box] = []
        mean = square = 0.0
        for start, size, law in (*reversed(self.parts), whole):
            share = _volume_outside((start, size), seen) / max(prod(shape), 1)
            seen.append((start, size))
            centre, spread = law.moments(size)
            mean, square = mean + share * centre, square + share * (centre * centre + spread * spread)
        return mean, sqrt(max(square - mean * mean, 0.0))

    def describe(self) -> str:
        """The base law, and each part with its law."""
        return f"{self.base.describe()} with " + ", ".join(
            f"{_slices(start, size)} = {law.describe()}" for start, size, law in self.parts
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON form, laws nested."""
        parts = [[list(start), list(size), law.to_dict()] for start, size, law in self.parts]
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


def _part(start: Any, size: Any, law: Any) -> PartLaw:
    if any(type(extent) is not int or extent < 0 for extent in (*start, *size)):
        raise ArgumentError(f"Blocks: a part's start {start!r} and size {size!r} must be counts of elements")
    if len(start) != len(size):
        raise ArgumentError(f"Blocks: a part's start {tuple(start)} and size {tuple(size)} differ in rank")
    return tuple(start), tuple(size), _law(law)


def _fill_part(
    out: Storage, law: Initializer, stream: Stream, region: Region, place: Region, shared: Region, threads: int | None
) -> None:
    inside = zip(shared.start, shared.size, region.start, strict=True)
    target = out.reshape(region.size)[tuple(slice(a - origin, a - origin + n) for a, n, origin in inside)]
    buffer = target if target.flags.c_contiguous else np.empty(shared.size, out.dtype)
    logical = shared if law.elementwise else _within(shared, place)
    law.fill(buffer, stream, logical, threads=threads)
    if buffer is not target:
        target[...] = buffer


def _shared(region: Region, place: Region) -> Region:
    """The part of `place` that lies in `region`."""
    start = tuple(max(a, b) for a, b in zip(region.start, place.start, strict=True))
    ends = zip(region.start, region.size, place.start, place.size, start, strict=True)
    return Region(region.shape, start, tuple(max(0, min(a + n, b + m) - first) for a, n, b, m, first in ends))


def _within(shared: Region, place: Region) -> Region:
    """`shared` in the coordinates of the tensor that `place` is."""
    start = tuple(a - b for a, b in zip(shared.start, place.start, strict=True))
    return Region(place.size, start, shared.size)


def _volume_outside(box: Box, holes: list[Box]) -> int:
    pieces = [box]
    for hole in holes:
        pieces = [rest for piece in pieces for rest in _without(piece, hole)]
    return sum(prod(size) for _, size in pieces)


def _without(box: Box, hole: Box) -> list[Box]:
    """`box` less `hole`, as disjoint boxes."""
    start, size = list(box[0]), list(box[1])
    pieces: list[Box] = []
    for axis, (first, extent) in enumerate(zip(*hole, strict=True)):
        low, high = max(start[axis], first), min(start[axis] + size[axis], first + extent)
        if low >= high:
            return [box]
        for begin, end in ((start[axis], low), (high, start[axis] + size[axis])):
            if begin < end:
                pieces.append(
                    ((*start[:axis], begin, *start[axis + 1 :]), (*size[:axis], end - begin, *size[axis + 1 :]))
                )
        start[axis], size[axis] = low, high - low
    return pieces


def _slices(start: tuple[int, ...], size: tuple[int, ...]) -> str:
    return "[" + ", ".join(f"{a}:{a + n}" for a, n in zip(start, size, strict=True)) + "]"
