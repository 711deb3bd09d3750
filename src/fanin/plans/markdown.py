"""A plan as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from fanin.plans.steps import Step
from fanin.plans.text import RIGHT, plan_rows


def plan_markdown(steps: Sequence[Step], notes: Sequence[str], title: str, *, group: bool = True) -> str:
    """A heading, one row per group of steps, the notes.

    Args:
        steps: the plan's steps.
        notes: what to say below.
        title: the heading; none where empty.
        group: tell repeated layers as one.
    """
    rows = [row | {"tensor": f"`{row['tensor']}`"} for row in plan_rows(steps, group)]
    heading = [f"## {title}"] if title else []
    return "\n\n".join([*heading, markdown_table(rows), *(f"Note: {note}" for note in notes)]) + "\n"


def markdown_table(rows: Sequence[Mapping[str, str]]) -> str:
    """A table of rows with equal keys, which are its header; columns without any content are left out.

    >>> print(markdown_table([{"tensor": "w", "std": "0.02", "why": ""}]))
    | tensor | std |
    |---|--:|
    | w | 0.02 |
    """
    columns = [name for name in rows[0] if any(row[name] for row in rows)] if rows else []
    if not columns:
        return ""
    right = [name.strip() in RIGHT or name.startswith("std") for name in columns]
    lines = ["---|" if not each else "--:|" for each in right]
    cells = [[_cell(row[name]) for name in columns] for row in rows]
    return "\n".join([_line(name.strip() for name in columns), "|" + "".join(lines), *map(_line, cells)])


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
