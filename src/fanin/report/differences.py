"""The difference of two plans as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from fanin.plans import Plan
from fanin.plans.diff import Change, citations, ratio_text, side
from fanin.plans.steps import Step
from fanin.plans.text import std_text, times, words
from fanin.report import text
from fanin.report.layout import Field, grid, heading, references, stack, widest_fitting

Changes = tuple[Change, ...]


def difference_report(before: Plan, after: Plan, width: int, model: str = "", *, group: bool = True) -> RenderableType:
    """The tensors that two plans fill differently, one row per group, with the citation; how many they fill alike.

    Args:
        before: the plan that is compared with.
        after: the plan whose reasons are told.
        width: columns of the terminal; a narrow one loses the laws, then the roles.
        model: what to call the model; by default its class.
        group: tell repeated layers as one.
    """
    diff = before.diff(after)
    title = heading(f"{model or after.model or 'plan'}: {before.recipe} → {after.recipe}")
    same = Text(f"{diff.same} of {text.plural(diff.same + len(diff.changes), 'tensor')} the same")
    notes = [Text(f"note: {note}", style="yellow") for note in diff.notes]
    groups = diff.groups(group=group)
    if not groups:
        return stack(title, "", same)
    changes = [each.members for each in groups]
    told, source = citations(changes)
    _, why, reasons = references("why", told)
    below = [Text(f"source: {source}", style="dim")] if source else []
    name = Field("tensor", [each.name for each in groups])
    count = Field("×", [times(each) for each in changes], "dim", number=True)
    role = Field("role", [each[0].step.role for each in changes], "dim")
    ratio = Field("std ×", [ratio_text(each) for each in changes], "bold", number=True)
    laws = [*_side(before.recipe, changes, after=False), *_side(after.recipe, changes, after=True)]
    sides = [_short(before.recipe, changes, after=False), _short(after.recipe, changes, after=True)]
    named = [name, count] if any(count.cells) else [name]
    choices = [
        [*named, role, *laws, ratio, why],
        [*named, *laws, ratio, why],
        [*named, role, *sides, ratio, why],
        [*named, *sides, ratio, why],
        [name, *sides, ratio, why],
    ]
    return stack(title, "", grid(widest_fitting(choices, width)), "", reasons, *below, "", same, *notes)


def difference_data(before: Plan, after: Plan) -> dict[str, Any]:
    """The same as data: both steps of every tensor that changes."""
    return {"model": after.model} | before.diff(after).to_dict()


def _side(recipe: str, changes: Sequence[Changes], *, after: bool) -> list[Field]:
    steps = [side(each, after=after) for each in changes]
    laws = [words(each) if each else "absent" for each in steps]
    return [Field(recipe, laws, "green"), Field("std", [std_text(each) for each in steps], number=True)]


def _short(recipe: str, changes: Sequence[Changes], *, after: bool) -> Field:
    """The std alone; the law where it has none."""
    return Field(f"{recipe} std", [_std_or_law(side(each, after=after)) for each in changes], "green", number=True)


def _std_or_law(steps: Sequence[Step]) -> str:
    if not steps:
        return "absent"
    return std_text(steps) if any(step.std for step in steps) else words(steps)
