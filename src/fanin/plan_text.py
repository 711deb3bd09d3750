"""A plan as a plain-text table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import Field, fields
from math import prod
from shutil import get_terminal_size
from typing import Any

from fanin.initializers import Initializer
from fanin.steps import Copy, Draw, Keep, Replay, Step, Unknown

_COLUMNS = ("tensor", "shape", "role", "fan in → out", "values", "std", "why")
_RIGHT = frozenset(("shape", "fan in → out", "std"))
# What gives way on a narrow terminal, in this order: columns shrink to these widths, then go.
_NARROWEST = {"why": 24, "values": 18, "tensor": 20}
_DISPENSABLE = ("role", "fan in → out", "why", "shape")
_GAP = 2


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
    lines = [_line(row, widths) for row in [_header(), *rows]]
    rule = "─" * min(limit, sum(widths.values()) + _GAP * (len(widths) - 1))
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
    told = [field for field in fields(initializer) if not _goes_without_saying(field, getattr(initializer, field.name))]
    numbers = (f"{field.name}={_short(getattr(initializer, field.name))}" for field in told)
    return f"{type(initializer).__name__}({', '.join(numbers)})"


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
    return sum(widths.values()) + _GAP * (len(widths) - 1)


def _line(row: dict[str, str], widths: dict[str, int]) -> str:
    cells = (_cell(row[name], width, right=name in _RIGHT) for name, width in widths.items())
    return (" " * _GAP).join(cells).rstrip()


def _cell(text: str, width: int, *, right: bool) -> str:
    shown = text if len(text) <= width else text[: width - 1] + "…"
    return shown.rjust(width) if right else shown.ljust(width)
