"""Blocks that repeat each other, of which a drawing shows one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from fanin.drawing.parts import Parts, Unit
from fanin.drawing.passing import Shape

_LONGEST = 12
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Run:
    """Siblings that repeat.

    Attributes:
        parent: the module that has them.
        shown: the names of those that are drawn.
        last: the names of those that repeat them last.
        times: how often they are there.
    """

    parent: str
    shown: tuple[str, ...]
    last: tuple[str, ...]
    times: int

    @property
    def mark(self) -> str:
        """A name of the run that no module has."""
        return f"*{self.parent}.{next(iter(self.shown))}"


@dataclass(frozen=True, slots=True)
class Repeats:
    """Which modules stand for which.

    Attributes:
        runs: every run, by the path of each of its members that are drawn.
        stands: for each module that repeats another, which one that is and which repetition it is.
    """

    runs: Mapping[str, Run]
    stands: Mapping[str, tuple[str, int]]

    def shown(self, module: str) -> tuple[str, dict[Run, int]]:
        """The module that is drawn for this one, and which repetition of each run it is in."""
        path, turns = "", dict[Run, int]()
        for part in module.split(".") if module else ():
            path = f"{path}.{part}" if path else part
            path, turn = self.stands.get(path, (path, 0))
            if path in self.runs:
                turns[self.runs[path]] = turn
        return path, turns

    def times(self, module: str) -> int:
        """How often a module that is drawn is there."""
        times, path = 1, ""
        for part in module.split(".") if module else ():
            path = f"{path}.{part}" if path else part
            times *= self.runs[path].times if path in self.runs else 1
        return times


NONE = Repeats({}, {})


def repeats(model: nn.Module, shapes: Mapping[str, Shape], parts: Parts) -> Repeats:
    """The runs of siblings of one structure: classes, parameters, shapes that come out, operations in between."""
    operations: dict[str, list[str]] = {}
    for unit in parts.shapes:
        if unit.op:
            operations.setdefault(unit.module, []).append(unit.op)
    marks = _Marks(shapes, operations)
    marks.of("", model)
    runs: dict[str, Run] = {}
    stands: dict[str, tuple[str, int]] = {}
    for parent, module in model.named_modules():
        names = [name for name, _ in module.named_children()]
        dot = f"{parent}." if parent else ""
        tokens = [(_NUMBER.sub("#", name), marks.known[dot + name]) for name in names]
        for start, period, times in _runs(tokens):
            members = [tuple(names[start + turn * period :][:period]) for turn in range(times)]
            if not any(True for name in members[0] for _ in module.get_submodule(name).parameters()):
                continue
            run = Run(parent, members[0], members[-1], times)
            runs |= {dot + name: run for name in members[0]}
            for turn, member in enumerate(members[1:], start=1):
                stands |= {dot + name: (dot + first, turn) for name, first in zip(member, members[0], strict=True)}
    return Repeats(runs, stands)


class _Marks:
    """A number for each structure, equal for equal ones."""

    def __init__(self, shapes: Mapping[str, Shape], operations: Mapping[str, Sequence[str]]) -> None:
        self.known: dict[str, int] = {}
        self._shapes = shapes
        self._operations = operations
        self._numbers: dict[object, int] = {}

    def of(self, name: str, module: nn.Module) -> int:
        dot = f"{name}." if name else ""
        children = tuple((key, self.of(dot + key, child)) for key, child in module.named_children())
        stored = tuple((key, tuple(each.shape)) for key, each in module.named_parameters(recurse=False))
        own = (type(module), stored, self._shapes.get(name), tuple(self._operations.get(name, ())), children)
        self.known[name] = self._numbers.setdefault(own, len(self._numbers))
        return self.known[name]


def _runs(tokens: Sequence[object]) -> Iterator[tuple[int, int, int]]:
    """Where a period starts, how long it is and how often it is there, the longest runs first come first served."""
    start = 0
    while start < len(tokens):
        times, period = max(
            ((_times(tokens, start, period), period) for period in range(1, _LONGEST + 1)),
            key=lambda each: (each[0] > 1, (each[0] - 1) * each[1], -each[1]),
        )
        if times > 1:
            yield start, period, times
            start += times * period
        else:
            start += 1


def _times(tokens: Sequence[object], start: int, period: int) -> int:
    first, times = tokens[start : start + period], 1
    while len(first) == period and tokens[start + times * period : start + (times + 1) * period] == first:
        times += 1
    return times


def collapsed(parts: Parts, known: Repeats) -> Parts:
    """The boxes that are drawn, and the lines between them; lines from one repetition to the next are left out."""
    smaller = Parts()
    shown = {unit: known.shown(unit.module) for unit in parts.shapes}
    for unit, shape in parts.shapes.items():
        smaller.shapes.setdefault(Unit(shown[unit][0], unit.op, unit.number), shape)
    for source, target in parts.lines:
        (first, here), (second, there) = shown[source], shown[target]
        line = Unit(first, source.op, source.number), Unit(second, target.op, target.number)
        between_turns = any(there.get(run, turn) != turn for run, turn in here.items())
        if not between_turns and line[0] != line[1]:
            smaller.lines[line] = None
    return smaller
