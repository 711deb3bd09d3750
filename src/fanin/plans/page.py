"""A plan for `fanin.pages`: one row for each tensor, in words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import fanin
from fanin.pages import PlanRow, plan_page
from fanin.plans.steps import Copy, Draw, Keep, Replay, Step, Unknown
from fanin.plans.text import fans
from fanin.plans.words import values
from fanin.weights.atomic import atomic_file

_ACTIONS = {Draw: "draw", Replay: "compute", Copy: "copy", Keep: "keep", Unknown: "unknown"}


def write_plan_page(title: str, steps: Sequence[Step], notes: Sequence[str], path: str | Path) -> Path:
    """Write the page of a plan, whole or not at all."""
    with atomic_file(path) as file:
        file.write(plan_page(title, page_rows(steps), notes, fanin.__version__).encode())
    return Path(path)


def page_rows(steps: Sequence[Step]) -> list[PlanRow]:
    """Each step as a row.

    >>> from fanin.initializers import Normal
    >>> step = Step("fc.weight", (4, 3), "float32", "parameter", Draw(Normal(std=0.02)), "as in GPT-2")
    >>> (row,) = page_rows((step,))
    >>> row["values"], row["std"], row["action"]
    ('normal', 0.02, 'draw')
    """
    return [_row(step) for step in steps]


def _row(step: Step) -> PlanRow:
    return PlanRow(
        name=step.name,
        shape=list(step.shape),
        dtype=step.dtype,
        kind=step.kind,
        role=step.role,
        fans=fans(step.axes),
        action=_ACTIONS[type(step.action)],
        values=values(step),
        std=step.std,
        why=step.why,
        source=step.source,
        aliases=list(step.aliases),
    )
