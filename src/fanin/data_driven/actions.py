"""A step's action with its values multiplied by factors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from fanin.data_driven.grids import Factors, grid, visible_cells, within
from fanin.errors import PlanError
from fanin.initializers import (
    Blocks,
    Constant,
    Initializer,
    Normal,
    Orthogonal,
    Scaled,
    TruncatedNormal,
    Uniform,
)
from fanin.initializers.blocks import PartLaw
from fanin.initializers.scaled import ALIKE
from fanin.plans.steps import Action, Copy, Draw, Step
from fanin.random.part import Part

_FIELDS: dict[type[Initializer], tuple[str, ...]] = {
    Constant: ("value",),
    Normal: ("mean", "std"),
    TruncatedNormal: ("mean", "std"),
    Uniform: ("low", "high"),
}


def scaled(step: Step, factors: Factors) -> Action:
    """The action that gives the step's values times their factors.

    Raises:
        PlanError: its law is not alike throughout the tensor and cannot be scaled block by block.
    """
    match step.action:
        case Draw(law):
            return Draw(scaled_law(law, factors, step.shape))
        case Copy(source, key, changes):
            return Copy(source, key, (*changes, *_changes(step, factors)))
        case other:
            raise PlanError(f"{step.name!r}: a step that does {type(other).__name__} has no values to scale")


def is_same_in_place(action: Action, dtype: str) -> bool:
    """Whether multiplying the tensor where it lies gave the very bits that the scaled action writes."""
    exact = isinstance(action, Draw) and isinstance(action.initializer, Scaled | Orthogonal)
    return exact and dtype in ("float32", "float64")


def scaled_law(law: Initializer, factors: Factors, shape: Sequence[int]) -> Initializer:
    """The law of values times their factors.

    >>> scaled_law(Normal(std=0.5), np.full((1, 1), 3.0), (2, 2))
    Normal(mean=0.0, std=1.5)
    >>> scaled_law(Orthogonal(), np.array([[1.0], [2.0]]), (2, 2)).describe()
    'Scaled(Orthogonal(gain=1, rows=(0,), batch=(), groups=1, grouped=0) × 2 factors from 1 to 2)'
    """
    if isinstance(law, Scaled):
        before = np.reshape(law.factors, law.grid)
        places = [np.arange(n) // (n // many) for n, many in zip(shape, law.grid, strict=True)]
        return scaled_law(law.of, within(before, places) * factors, shape)
    if factors.size == 1 or bool((factors == factors.flat[0]).all()):
        return _times(law, float(factors.flat[0]), len(shape))
    if isinstance(law, Blocks):
        return _in_blocks(law, factors, tuple(shape))
    if not isinstance(law, ALIKE):
        raise PlanError(f"{law.describe()} is not alike throughout the tensor and cannot be scaled block by block")
    return Scaled(law, *grid(factors, shape))


def _times(law: Initializer, factor: float, rank: int) -> Initializer:
    if isinstance(law, Blocks):
        parts = ((start, size, _times(inner, factor, len(start)), *comb) for start, size, inner, *comb in law.parts)
        return Blocks(_times(law.base, factor, rank), tuple(parts))  # pyright: ignore[reportArgumentType]
    if type(law) in _FIELDS:
        return replace(law, **{name: getattr(law, name) * factor for name in _FIELDS[type(law)]})
    if isinstance(law, Orthogonal) and law.gain == 1:
        return replace(law, gain=factor)
    if isinstance(law, Scaled):
        return replace(law, factors=tuple(each * factor for each in law.factors))
    return Scaled(law, (factor,), (1,) * rank)


def _in_blocks(law: Blocks, factors: Factors, shape: tuple[int, ...]) -> Blocks:
    """The same parts, of which matrix laws are scaled by a grid; all else is put over them, a rectangle per factor.

    A matrix law's random numbers hang on the place of its part among the parts, which therefore stays.
    """
    parts = [_scaled_part(part, inner, factors) for part, inner in law.pieces]
    owners = [inner for _, inner in law.pieces]
    for start, size, owner in visible_cells([part for part, _ in law.pieces], factors, shape):
        inner = law.base if owner is None else owners[owner]
        factor = float(within(factors, [[first] for first in start]).flat[0])
        if inner.elementwise and factor != 1:
            parts.append((start, size, _times(inner, factor, len(shape))))
        elif owner is None and factor != 1:
            raise PlanError(
                f"{inner.describe()} lies under other parts of its tensor and cannot be scaled block by block"
            )
    return Blocks(law.base, tuple(parts))


def _scaled_part(part: Part, law: Initializer, factors: Factors) -> PartLaw:
    if not law.elementwise:
        own = within(factors, [part.places(axis) for axis in range(len(part.start))])
        law = scaled_law(law, own, part.joined)
    return (part.start, part.size, law, part.stride, part.count) if part.count else (part.start, part.size, law)


def _changes(step: Step, factors: Factors) -> Iterator[tuple[str | float, ...]]:
    values, blocks = grid(factors, step.shape)
    several = [axis for axis, count in enumerate(blocks) if count > 1]
    if not several:
        yield "scale", values[0]
    elif len(several) == 1:
        yield "scale_along", several[0], *values
    else:
        raise PlanError(f"{step.name!r} is copied from a file: its factors may change along one dimension only")
