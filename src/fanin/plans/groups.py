"""Repeated layers as one: things whose names differ in whole numbers only, and that agree in all else."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from fanin.plans.spans import masked, ranges
from fanin.plans.steps import Step
from fanin.plans.words import values_with_std

T = TypeVar("T")
Indices = tuple[int, ...]
Pattern = tuple[str | None, ...]  # the components of a name, None where a whole number stands


@dataclass(frozen=True, slots=True)
class Group(Generic[T]):
    """Members that are told as one.

    Attributes:
        name: their common name with ranges for the numbers in it, as `layers.0-31.mlp.up_proj.weight`.
        members: in the order of their numbers.
    """

    name: str
    members: tuple[T, ...]


def grouped(items: Sequence[T], name: Callable[[T], str], alike: Callable[[T], Hashable]) -> list[Group[T]]:
    """Groups of items with equal `alike` whose names agree but for components that are whole numbers.

    Each group's numbers are a full product of ranges (`layers.0-3.experts.0-7`): what is left of an irregular set is
    a group of its own. Groups stand where their first member stood.

    >>> names = ["h.0.w", "h.0.b", "h.1.w", "h.1.b", "h.3.w", "head.w"]
    >>> [group.name for group in grouped(names, name=str, alike=len)]
    ['h.0-1,3.w', 'h.0-1.b', 'head.w']
    """
    families: dict[tuple[Pattern, Hashable], dict[Indices, T]] = {}
    for item in items:
        pattern, indices = _split(name(item))
        families.setdefault((pattern, alike(item)), {})[indices] = item
    groups: list[Group[T]] = []
    for (pattern, _), members in families.items():
        for box in _boxes(sorted(members)):
            chosen = tuple(members[indices] for indices in _product(box))
            groups.append(Group(_named(pattern, box), chosen))
    order = {id(item): place for place, item in enumerate(items)}
    return sorted(groups, key=lambda group: min(order[id(member)] for member in group.members))


def grouped_steps(steps: Sequence[Step]) -> list[Group[Step]]:
    """Steps of repeated layers as one, where shape, dtype, role, fans, the kind of law and the reason agree."""
    return grouped(steps, name=lambda step: step.name, alike=alike)


def each_alone(steps: Sequence[Step]) -> list[Group[Step]]:
    """Every step as a group of its own."""
    return [Group(step.name, (step,)) for step in steps]


def alike(step: Step) -> Hashable:
    """What steps that are told as one have in common; numbers of their laws and reasons may differ."""
    what = (step.shape, step.dtype, step.kind, step.role, step.persistent, step.axes, type(step.action))
    texts = (values_with_std(step), step.why, step.source, step.activation, *step.aliases)
    return (*what, *map(masked, texts))


def _split(name: str) -> tuple[Pattern, Indices]:
    parts = name.split(".")
    numbers = tuple(int(part) for part in parts if _is_index(part))
    return tuple(None if _is_index(part) else part for part in parts), numbers


def _is_index(part: str) -> bool:
    return part.isascii() and part.isdigit() and str(int(part)) == part


def _named(pattern: Pattern, box: Sequence[Sequence[int]]) -> str:
    numbers = iter(box)
    return ".".join(ranges(next(numbers)) if part is None else part for part in pattern)


def _boxes(indices: Sequence[Indices]) -> Iterator[tuple[tuple[int, ...], ...]]:
    """The set as full products of numbers, one tuple of numbers for each place."""
    if not indices[0]:
        yield ()
        return
    below: dict[int, list[Indices]] = {}
    for first, *rest in indices:
        below.setdefault(first, []).append(tuple(rest))
    firsts: dict[tuple[Indices, ...], list[int]] = {}
    for first, rest in below.items():
        firsts.setdefault(tuple(rest), []).append(first)
    for rest, same in firsts.items():
        for box in _boxes(rest):
            yield (tuple(same), *box)


def _product(box: Sequence[Sequence[int]]) -> Iterator[Indices]:
    if not box:
        yield ()
        return
    for first in box[0]:
        for rest in _product(box[1:]):
            yield (first, *rest)
