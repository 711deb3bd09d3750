"""A law of which parts are overwritten by others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import prod, sqrt
from typing import Any

from fanin.errors import ArgumentError
from fanin.initializers.base import Initializer, Storage
from fanin.initializers.part_fill import fill_part, is_covered, is_seen, joined_region, spread
from fanin.initializers.rectangles import hull
from fanin.initializers.storage import shaped
from fanin.random.part import Part, visible
from fanin.random.stream import Region, Stream

_LANES = 16  # lanes of a stream that one part's law may use itself

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
        self.fill_all((out,), stream, (region,), threads=threads)

    def fill_all(
        self, outs: Sequence[Storage], stream: Stream, regions: Sequence[Region], *, threads: int | None = None
    ) -> None:
        values = [(shaped(out, region), region) for out, region in zip(outs, regions, strict=True)]
        pieces = self.pieces
        parts = [part for part, _ in pieces]
        for part, region in product(parts, regions):
            Region(region.shape, part.start, tuple(b - a for a, b in zip(part.start, part.end, strict=True)))
        seen = [(out, region) for out, region in values if not is_covered(region, parts)]
        self.base.fill_all([out for out, _ in seen], stream, [region for _, region in seen], threads=threads)
        for number, (part, law) in enumerate(pieces):
            seen = [(out, region) for out, region in values if is_seen(part, region, parts[number + 1 :])]
            own = stream if law.elementwise else replace(stream, lane=stream.lane + _LANES * (number + 1))
            fill_part(seen, part, law, own, threads)

    def needs(self, region: Region) -> Region:
        """The hull of what each law needs of which values remain in the region."""
        parts = [part for part, _ in self.pieces]
        needed = [region] if is_covered(region, parts) else [region, self.base.needs(region)]
        for number, (part, law) in enumerate(self.pieces):
            if not law.elementwise and is_seen(part, region, parts[number + 1 :]):
                needed.append(spread(part, law.needs(joined_region(part, region)), region.shape))
        return hull(needed)

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


def _slices(part: Part) -> str:
    def along(axis: int) -> str:
        run = f"{part.start[axis]}:{part.start[axis] + part.size[axis]}"
        several = part.count and part.count[axis] > 1
        return f"{run} and {part.count[axis] - 1} more every {part.stride[axis]}" if several else run

    return "[" + ", ".join(along(axis) for axis in range(len(part.start))) + "]"
