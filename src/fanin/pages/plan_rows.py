"""A plan as a page shows it: one row for each tensor, and what a second plan does differently."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict


class PlanRow(TypedDict):
    """One tensor of a plan in words (`fanin.plans.page.plan_rows` makes them)."""

    name: str
    shape: list[int]
    dtype: str
    kind: str
    role: str
    fans: str
    action: str
    values: str
    std: float | None
    why: str
    source: str
    aliases: list[str]


def changed(rows: Sequence[PlanRow], before: Sequence[PlanRow]) -> list[dict[str, object]]:
    """The rows with the field `change`, which says what the plan before did; "" for the same, "new" for no such row.

    >>> row = PlanRow(name="w", shape=[2], dtype="float32", kind="parameter", role="", fans="", action="draw",
    ...               values="normal", std=0.02, why="", source="", aliases=[])
    >>> [each["change"] for each in changed([row, row | {"name": "v"}], [row | {"std": 0.01}])]
    ['was normal, std 0.01', 'new']
    """
    known = {row["name"]: row for row in before}
    return [_with_change(row, known.get(row["name"])) for row in rows]


def _with_change(row: PlanRow, before: PlanRow | None) -> dict[str, object]:
    change = "new" if before is None else _change(row, before)
    return {**row, "change": change, "changed": "yes" if change else ""}


def _change(row: PlanRow, before: PlanRow) -> str:
    if row["shape"] != before["shape"]:
        return f"was {'×'.join(map(str, before['shape'])) or '()'}"
    if (row["values"], row["std"]) == (before["values"], before["std"]):
        return ""
    return f"was {before['values']}" + (f", std {before['std']:.4g}" if before["std"] else "")
