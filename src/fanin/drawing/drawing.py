"""Everything that a picture of a model shows, free of any program that draws."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from torch import nn

from fanin.drawing.parts import Parts, Unit, parts
from fanin.drawing.passing import Shape, seen
from fanin.drawing.repeats import NONE, Repeats, collapsed, repeats
from fanin.drawing.stored import Holding, holdings
from fanin.errors import ArgumentError

_MOST_BOXES = 2000


@dataclass(frozen=True, slots=True)
class Box:
    """One box.

    Attributes:
        unit: the layer or operation.
        kind: name of the layer's class; "" for an operation.
        shape: what comes out.
        holding: its parameters.
        times: how often it is there.
    """

    unit: Unit
    kind: str
    shape: Shape | None
    holding: Holding
    times: int


@dataclass(frozen=True, slots=True)
class Drawing:
    """A picture of a model.

    Attributes:
        model: name of its class.
        boxes: in the order of the pass.
        lines: from box to box.
        skips: those of them that pass a branch by, to where it is added.
        repeats: which blocks stand for others.
        kinds: the classes of modules by name.
        total: values in all parameters.
        batch: samples of the pass.
        notes: what was assumed.
    """

    model: str
    boxes: tuple[Box, ...]
    lines: tuple[tuple[Unit, Unit], ...]
    skips: frozenset[tuple[Unit, Unit]]
    repeats: Repeats
    kinds: Mapping[str, str]
    total: int
    batch: int
    notes: tuple[str, ...]


def drawing(model: nn.Module, inputs: Any, depth: int | None, *, collapse: bool) -> Drawing:
    """What a picture of `model` shows; see `fanin.draw`."""
    found = seen(model, inputs)
    whole = parts(model, found, depth)
    known = repeats(model, found.shapes, whole) if collapse else NONE
    drawn = collapsed(whole, known)
    if len(drawn.shapes) > _MOST_BOXES:
        raise ArgumentError(
            f"{type(model).__name__} has {len(drawn.shapes):,} boxes, which nobody could read: give a smaller depth"
            + ("" if collapse else ", or leave repeated blocks collapsed")
        )
    boxes = {unit.module for unit in whole.shapes if not unit.op}
    held, total = holdings(model, inputs, lambda module: _holder(module, boxes), boxes)
    kinds = {name: type(module).__name__ for name, module in model.named_modules()}
    return Drawing(
        model=type(model).__name__,
        boxes=tuple(_box(unit, shape, kinds, held, known) for unit, shape in drawn.shapes.items()),
        lines=tuple(drawn.lines),
        skips=_skips(drawn),
        repeats=known,
        kinds=kinds,
        total=total,
        batch=found.given[0] if found.given else 0,
        notes=found.notes,
    )


def _box(unit: Unit, shape: Shape | None, kinds: Mapping[str, str], held: Mapping[str, Holding], known: Repeats) -> Box:
    kind = "" if unit.op else kinds[unit.module]
    holding = Holding() if unit.op else held.get(unit.module, Holding())
    return Box(unit, kind, shape, holding, known.times(unit.module))


def _holder(module: str, boxes: set[str]) -> str:
    """The box that a module is in; the module itself where it is in none."""
    path = module
    while path and path not in boxes:
        path = path.rpartition(".")[0]
    return path or module


def _skips(drawn: Parts) -> frozenset[tuple[Unit, Unit]]:
    """The shorter of two ways from one box to a sum: residual connections, with what stands on them."""
    before: dict[Unit, list[Unit]] = {unit: [] for unit in drawn.shapes}
    for source, target in drawn.lines:
        before[target].append(source)
    found: set[tuple[Unit, Unit]] = set()
    for target, sources in before.items():
        if target.op == "+" and len(sources) == 2:
            one, other = (_ways(before, source, target) for source in sources)
            common = [unit for unit in one if unit in other]
            if not common:
                continue
            start = min(common, key=lambda unit: len(one[unit]) + len(other[unit]))
            shorter, longer = sorted((one[start], other[start]), key=len)
            found |= set(pairwise(shorter)) if len(shorter) < len(longer) else set()
    return frozenset(found)


def _ways(before: Mapping[Unit, Sequence[Unit]], source: Unit, target: Unit) -> dict[Unit, tuple[Unit, ...]]:
    """The shortest way to `target` over `source` from each box that has one."""
    ways: dict[Unit, tuple[Unit, ...]] = {source: (source, target)}
    waiting = deque([source])
    while waiting:
        unit = waiting.popleft()
        for earlier in before[unit]:
            if earlier not in ways:
                ways[earlier] = (earlier, *ways[unit])
                waiting.append(earlier)
    return ways
