"""A plan as a plain-text table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod
from shutil import get_terminal_size

from fanin.axes import Axes
from fanin.plans.groups import Group, each_alone, grouped_steps
from fanin.plans.spans import spanned
from fanin.plans.steps import Step
from fanin.plans.words import std_in_parts, values
from fanin.text_table import GAP, aligned, elide

COLUMNS = ("tensor", "×", "shape", "role", "fan in → out", "values", "std", "why")
RIGHT = frozenset(("×", "shape", "fan in → out", "std"))
# What gives way on a narrow terminal, in this order: columns shrink to these widths, then go.
_NARROWEST = {"why": 24, "values": 18, "tensor": 20}
_DISPENSABLE = ("role", "fan in → out", "why", "shape", "×")

Row = dict[str, str]


def plan_table(steps: Sequence[Step], notes: Sequence[str], width: int | None = None, *, group: bool = True) -> str:
    """One line per step, or per group of them, with shape, role, fans, law, std and why; a total; the notes.

    Args:
        steps: the plan's steps.
        notes: what to say below.
        width: longest line of the table; the terminal's width by default.
        group: tell repeated layers as one.
    """
    limit = width or get_terminal_size((120, 24)).columns
    rows = [*plan_rows(steps, group), _total(steps)]
    header = {name: name for name in rows[-1]}
    widths = _fit({name: max(len(row[name]) for row in [header, *rows]) for name in header}, limit)
    cells = [[_cut(row[name], width, name) for name, width in widths.items()] for row in [header, *rows]]
    lines = aligned(cells, left=[place for place, name in enumerate(widths) if name not in RIGHT])
    rule = "─" * min(limit, _length(widths))
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1], *(f"note: {note}" for note in notes)])


def plan_rows(steps: Sequence[Step], group: bool) -> list[Row]:
    """The cells of each row by the name of their column; "×" counts the tensors of a row."""
    return [row_of(each) for each in (grouped_steps(steps) if group else each_alone(steps))]


def row_of(group: Group[Step]) -> Row:
    """The cells of one row."""
    first, steps = group.members[0], group.members
    cells = (group.name, times(steps), shape_text(first.shape), first.role, fans(first.axes), words(steps))
    return dict(zip(COLUMNS, (*cells, std_text(steps), reason(steps)), strict=True))


def times(steps: Sequence[object]) -> str:
    """How many tensors, where it is more than one."""
    return str(len(steps)) if len(steps) > 1 else ""


def words(steps: Sequence[Step]) -> str:
    """Where the values of steps that are told as one come from."""
    return spanned([values(step) for step in steps])


def std_text(steps: Sequence[Step]) -> str:
    """Their std, or from which to which it runs."""
    return spanned(
        [std_in_parts(step.initializer, step.shape) for step in steps if step.initializer is not None] or [""]
    )


def reason(steps: Sequence[Step]) -> str:
    """Why, and under which other names the tensors are known."""
    return spanned([_reason(step) for step in steps])


def _reason(step: Step) -> str:
    tied = f"also {', '.join(step.aliases)}" if step.aliases else ""
    return "; ".join(filter(None, [step.why, tied]))


def fans(axes: Axes | None) -> str:
    """fan-in → fan-out, where the tensor multiplies something.

    >>> fans(Axes.linear((500, 784))), fans(None)
    ('784 → 500', '')
    """
    return "" if axes is None else f"{axes.fan_in:,.6g} → {axes.fan_out:,.6g}"


def shape_text(shape: tuple[int, ...]) -> str:
    """Dimensions joined by ×.

    >>> shape_text((8, 1, 3, 3)), shape_text(())
    ('8×1×3×3', 'scalar')
    """
    return "×".join(map(str, shape)) or "scalar"


def _total(steps: Sequence[Step]) -> Row:
    numbers = {kind: sum(prod(step.shape) for step in steps if step.kind == kind) for kind in ("parameter", "buffer")}
    ways = _counted(type(step.action).__name__.lower() for step in steps)
    sizes = ", ".join(f"{count:,} in {kind}s" for kind, count in numbers.items() if count)
    return dict.fromkeys(COLUMNS, "") | {"tensor": f"total {len(steps)}", "values": ways, "why": sizes}


def _counted(texts: Iterable[str]) -> str:
    found = list(texts)
    return ", ".join(f"{found.count(word)} {word}" for word in dict.fromkeys(found))


def _fit(widths: dict[str, int], limit: int) -> dict[str, int]:
    fitted = {name: width for name, width in widths.items() if name != "×" or width > 1}
    for name, narrowest in _NARROWEST.items():
        over = _length(fitted) - limit
        fitted[name] = max(min(narrowest, fitted[name]), fitted[name] - max(over, 0))
    for name in _DISPENSABLE:
        if _length(fitted) > limit:
            fitted.pop(name, None)
    return fitted


def _length(widths: dict[str, int]) -> int:
    return sum(widths.values()) + len(GAP) * (len(widths) - 1)


def _cut(text: str, width: int, column: str) -> str:
    if column == "tensor":
        return elide(text, width)
    return text if len(text) <= width else text[: width - 1] + "…"
