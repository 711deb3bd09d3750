"""A plan as a plain-text table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import Field, fields
from math import prod
from shutil import get_terminal_size
from typing import Any

from fanin.initializers import Blocks, Initializer
from fanin.steps import Copy, Draw, Keep, Replay, Step, Unknown
from fanin.text_table import GAP, aligned

_COLUMNS = ("tensor", "shape", "role", "fan in → out", "values", "std", "why")
_RIGHT = frozenset(("shape", "fan in → out", "std"))
# What gives way on a narrow terminal, in this order: columns shrink to these widths, then go.
_NARROWEST = {"why": 24, "values": 18, "tensor": 20}
_DISPENSABLE = ("role", "fan in → out", "why", "shape")


def plan_table(steps: Sequence[Step], notes: Sequence[str], width: int | None = None) -> str:
    """One line per step with shape, role, fans, initializer, std and why; a total; the notes.

    Args:
        steps: the plan's steps.
        notes: what to say below.
        width: longest line of the table; the terminal's width by default.
    """
    limit = width or get_terminal_size((120, 24)).columns
    rows = [_row(step) for step in steps] + [_total(steps)]
    widths = _fit({name: max(len(row[name]) for row in [_header(), *rows]) for name in _COLUMNS}, limit)
    cells = [[_cut(row[name], width) for name, width in widths.items()] for row in [_header(), *rows]]
    lines = aligned(cells, left=[place for place, name in enumerate(widths) if name not in _RIGHT])
    rule = "─" * min(limit, _length(widths))
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1], *(f"note: {note}" for note in notes)])


def values(step: Step) -> str:
    """Where the values come from, in a few words."""
    match step.action:
        case Draw(initializer):
            return _law(initializer)
        case Replay():
            return "computed by the model's code"
        case Copy(source, key):
            return f"{source}: {key}"
        case Keep():
            return "kept"
        case Unknown():
            return "UNKNOWN"


def _law(initializer: Initializer) -> str:
    """The law and its numbers, without a mean of 0 and without options left at their defaults."""
    if isinstance(initializer, Blocks):
        parts = (f"{_slices(start, size)} = {_law(law)}" for start, size, law in initializer.parts)
        return f"{_law(initializer.base)} with {', '.join(parts)}"
    told = [field for field in fields(initializer) if not _goes_without_saying(field, getattr(initializer, field.name))]
    numbers = (f"{field.name}={_short(getattr(initializer, field.name))}" for field in told)
    return f"{type(initializer).__name__}({', '.join(numbers)})"


def _slices(start: tuple[int, ...], size: tuple[int, ...]) -> str:
    return "[" + ", ".join(f"{a}:{a + n}" for a, n in zip(start, size, strict=True)) + "]"


def _goes_without_saying(field: Field[Any], value: object) -> bool:
    return value == 0 if field.name == "mean" else value == field.default and not isinstance(value, float)


def _short(value: object) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def _header() -> dict[str, str]:
    return {name: name for name in _COLUMNS}


def _row(step: Step) -> dict[str, str]:
    fans = "" if step.axes is None else f"{step.axes.fan_in:g} → {step.axes.fan_out:g}"
    shape = "×".join(map(str, step.shape)) or "scalar"
    std = "" if step.std is None else f"{step.std:.4g}"
    return dict(zip(_COLUMNS, (step.name, shape, step.role, fans, values(step), std, step.why), strict=True))


def _total(steps: Sequence[Step]) -> dict[str, str]:
    numbers = {kind: sum(prod(step.shape) for step in steps if step.kind == kind) for kind in ("parameter", "buffer")}
    ways = _counted(type(step.action).__name__.lower() for step in steps)
    sizes = ", ".join(f"{count:,} in {kind}s" for kind, count in numbers.items() if count)
    return dict.fromkeys(_COLUMNS, "") | {"tensor": f"total {len(steps)}", "values": ways, "why": sizes}


def _counted(words: Iterable[str]) -> str:
    found = list(words)
    return ", ".join(f"{found.count(word)} {word}" for word in dict.fromkeys(found))


def _fit(widths: dict[str, int], limit: int) -> dict[str, int]:
    fitted = dict(widths)
    for name, narrowest in _NARROWEST.items():
        over = _length(fitted) - limit
        fitted[name] = max(min(narrowest, fitted[name]), fitted[name] - max(over, 0))
    for name in _DISPENSABLE:
        if _length(fitted) > limit:
            del fitted[name]
    return fitted


def _length(widths: dict[str, int]) -> int:
    return sum(widths.values()) + len(GAP) * (len(widths) - 1)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
