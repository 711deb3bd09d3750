"""Laws at another size: the same law, wider or narrower."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from fanin.initializers import (
    Blocks,
    DeltaOrthogonal,
    Initializer,
    Mirrored,
    Normal,
    Orthogonal,
    RowNormalized,
    Sparse,
    TruncatedNormal,
    Uniform,
)

_RANDOM = (Normal, TruncatedNormal, Uniform, Orthogonal, DeltaOrthogonal, RowNormalized, Sparse, Mirrored)


@dataclass(frozen=True, slots=True)
class Sized:
    """A law and the shape of the tensor that it fills."""

    law: Initializer
    shape: tuple[int, ...]

    @property
    def std(self) -> float:
        """Standard deviation of its values."""
        return self.law.moments(self.shape)[1]


def times(law: Initializer, factor: float) -> Initializer:
    """The law of `factor` times the values; laws without chance (constants, identities, ramps) stay.

    >>> times(Uniform(-0.5, 0.5), 2.0), times(Normal(std=0.02), 0.5)
    (Uniform(low=-1.0, high=1.0), Normal(mean=0.0, std=0.01))
    """
    match law:
        case Normal() | TruncatedNormal():
            return replace(law, mean=law.mean * factor, std=law.std * factor)
        case Uniform():
            return replace(law, low=law.low * factor, high=law.high * factor)
        case Orthogonal() | DeltaOrthogonal():
            return replace(law, gain=law.gain * factor)
        case RowNormalized() | Sparse():
            return replace(law, std=law.std * factor)
        case Mirrored():
            return replace(law, of=times(law.of, factor))
        case _:
            return law


def ratios(here: Sized, base: Sized) -> list[float | None]:
    """std at the base over std here, for the law and then for each part of a packed tensor; None without chance.

    >>> ratios(Sized(Uniform(-0.5, 0.5), (8,)), Sized(Uniform(-1, 1), (2,)))
    [2.0]
    """
    if isinstance(here.law, Blocks) and isinstance(base.law, Blocks) and len(here.law.parts) == len(base.law.parts):
        pairs = zip(here.law.pieces, base.law.pieces, strict=True)
        parts = [_ratio(Sized(law, part.joined), Sized(other, place.joined)) for (part, law), (place, other) in pairs]
        return [_ratio(Sized(here.law.base, here.shape), Sized(base.law.base, base.shape)), *parts]
    return [_ratio(here, base)]


def _ratio(here: Sized, base: Sized) -> float | None:
    if not isinstance(here.law, _RANDOM) or not here.std:
        return None
    # Twelve digits: 1/√n over 1/√(n/4) is exactly 2 then, and 1 where the law does not depend on the width.
    return float(f"{base.std / here.std:.12g}")


def each(law: Initializer, change: Callable[[Initializer, int], Initializer]) -> Initializer:
    """The law with `change` made to it, or to the whole (number 0) and to each part (1, …) of a packed tensor."""
    if not isinstance(law, Blocks):
        return change(law, 0)
    parts = tuple(
        (start, size, change(inner, number), *comb) for number, (start, size, inner, *comb) in enumerate(law.parts, 1)
    )
    return Blocks(change(law.base, 0), parts=parts)  # pyright: ignore[reportArgumentType]


def unit(law: Initializer) -> Initializer:
    """The normal law of standard deviation 1 in place of whatever is random.

    >>> unit(Uniform(-0.5, 0.5))
    Normal(mean=0.0, std=1.0)
    """
    return each(law, lambda inner, _: Normal() if isinstance(inner, _RANDOM) else inner)
