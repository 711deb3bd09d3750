"""Minus the values of another part of the same tensor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from fanin.errors import ArgumentError
from fanin.initializers.base import Initializer, Storage, check_storage
from fanin.initializers.storage import negate
from fanin.random.stream import Region, Stream


@dataclass(frozen=True, slots=True)
class Negated(Initializer):
    """Each value is minus the one that `of` gives `shift` rows further on in the same tensor, to the bit.

    Two gates of a recurrent layer whose biases must be opposite stand in one tensor: the second is drawn, the first is
    the negation of the same random numbers.

    Args:
        of: an elementwise law.
        shift: how many rows (steps along the first dimension) further on its values are taken; may be negative.

    Raises:
        ArgumentError: the law is not elementwise, or shift is not a whole number; at fill, rows that are not there.

    >>> import numpy as np
    >>> from fanin.initializers import Blocks, Uniform
    >>> gates = Blocks(Uniform(1.0, 2.0), parts=(((0,), (2,), Negated(Uniform(1.0, 2.0), shift=2)),))
    >>> out = np.empty(4, np.float32)
    >>> gates.fill(out, Stream.named(0, "bias"), Region.whole((4,)))
    >>> bool((out[:2] == -out[2:]).all())
    True
    """

    of: Initializer
    shift: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "of", _read(self.of))
        if type(self.shift) is not int:
            raise ArgumentError(f"Negated: shift must be a whole number, got {self.shift!r}")

    def fill(self, out: Storage, stream: Stream, region: Region, *, threads: int | None = None) -> None:
        check_storage(out, region)
        self.of.fill(out, stream, self._source(region), threads=threads)
        negate(out)

    def moments(self, shape: tuple[int, ...]) -> tuple[float, float]:
        mean, std = self.of.moments(shape)
        return -mean, std

    def describe(self) -> str:
        """The law and where its values are taken."""
        return f"Negated({self.of.describe()}" + (f" {self.shift} rows further on)" if self.shift else ")")

    def to_dict(self) -> dict[str, Any]:
        """JSON form, the law nested."""
        return {"law": "Negated", "of": self.of.to_dict(), "shift": self.shift}

    def _source(self, region: Region) -> Region:
        if not self.shift or not prod(region.size):
            return region
        if not region.shape or not 0 <= region.start[0] + self.shift <= region.shape[0] - region.size[0]:
            raise ArgumentError(
                f"Negated: a tensor of shape {region.shape} has no rows {self.shift} further on than {region.start}"
            )
        return Region(region.shape, (region.start[0] + self.shift, *region.start[1:]), region.size)


def _read(law: Any) -> Initializer:
    try:
        law = Initializer.from_dict(dict(law)) if isinstance(law, Mapping) else law  # pyright: ignore[reportUnknownArgumentType]
    except RecursionError:
        raise ArgumentError("Negated: laws are nested too deeply") from None
    if not isinstance(law, Initializer) or not law.elementwise:
        raise ArgumentError(f"Negated needs an elementwise initializer, got {law!r}")
    return law
