"""A plan, or the difference of two, as a table."""

from __future__ import annotations

from math import prod
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from fanin.axes import Axes
from fanin.plan_diff import Change
from fanin.plan_json import step_to_dict
from fanin.plans import Plan
from fanin.report import text
from fanin.report.laws import action
from fanin.report.layout import Field, grid, heading, stack, widest_fitting
from fanin.steps import Step, Unknown


def plan_report(plan: Plan, width: int, model: str = "") -> RenderableType:
    """One row per stored tensor: shape, role, fan-in → fan-out, initializer, std and why.

    Args:
        plan: the plan.
        width: columns of the terminal. Where the reasons do not fit beside the rows, each row has the number of its
            reason and the reasons stand below; a terminal narrower still loses the roles, then the fans.
        model: what to call the model; by default its class.
    """
    reasons = list(dict.fromkeys(filter(None, map(reason, plan.steps))))
    numbered = {why: f"[{index}]" for index, why in enumerate(reasons, 1)} | {"": ""}
    base, role = _fields(plan.steps), Field("role", [step.role for step in plan.steps], "dim")
    inline = Field("why", [reason(step) for step in plan.steps], "dim")
    noted = Field("why", [numbered[reason(step)] for step in plan.steps], "dim")
    with_role = [*base[:2], role, *base[2:]]
    without_fans = [*base[:2], *base[3:]]
    choices = [[*with_role, inline], [*with_role, noted], [*base, noted], [*without_fans, noted]]
    chosen = widest_fitting(choices, width)
    notes = [] if chosen[-1] is inline else [_reasons(reasons), ""]
    styles = ["red" if isinstance(step.action, Unknown) else "" for step in plan.steps]
    return stack(_title(plan, model), "", grid(chosen, styles), "", *notes, *_footer(plan))


def _fields(steps: tuple[Step, ...]) -> list[Field]:
    return [
        Field("tensor", [step.name for step in steps]),
        Field("shape", [text.shape(step.shape) for step in steps], number=True),
        Field("fan in → out", [fans(step.axes) for step in steps], number=True),
        Field("initializer", [action(step.action) for step in steps], "green"),
        Field("std", [text.number(step.std) for step in steps], number=True),
    ]


def _title(plan: Plan, model: str) -> Text:
    named = " · ".join(filter(None, [model or plan.model, f"recipe {plan.recipe}" if plan.recipe else ""]))
    return heading(named or "plan")


def _reasons(reasons: list[str]) -> Text:
    lines = [f"[{index}] {why}" for index, why in enumerate(reasons, 1)]
    return Text("\n".join(lines), style="dim")


def fans(axes: Axes | None) -> str:
    """fan-in → fan-out, where the tensor multiplies something.

    >>> fans(Axes.linear((500, 784))), fans(None)
    ('784 → 500', '')
    """
    return "" if axes is None else f"{axes.fan_in:,.6g} → {axes.fan_out:,.6g}"


def reason(step: Step) -> str:
    """Why, who says so, and under which other names the tensor is known."""
    tied = f"also {', '.join(step.aliases)}" if step.aliases else ""
    return "; ".join(filter(None, [step.why, tied]))


def parameters(plan: Plan) -> int:
    """How many numbers the parameters hold, tied ones once."""
    return sum(prod(step.shape) for step in plan.steps if step.kind == "parameter")


def _footer(plan: Plan) -> list[RenderableType]:
    tensors = text.plural(len(plan), "tensor")
    notes = [Text(f"note: {note}", style="dim") for note in plan.notes]
    unknown = [Text(f"nobody could say where {name} comes from", style="bold red") for name in plan.unknown]
    return [Text(f"{tensors}, {text.plural(parameters(plan), 'parameter')}"), *notes, *unknown]


def difference_report(before: Plan, after: Plan, width: int, model: str = "") -> RenderableType:
    """The tensors that two plans fill differently, one row each, then how many they fill alike."""
    pairs, total = differences(before, after), len({*before, *after})
    title = heading(f"{model or after.model or 'plan'}: {before.recipe} → {after.recipe}")
    same = Text(f"{total - len(pairs)} of {text.plural(total, 'tensor')} the same")
    if not pairs:
        return stack(title, "", same)
    olds, news = [old for old, _ in pairs.values()], [new for _, new in pairs.values()]
    ratio = Field("std ×", [_ratio(old, new) for old, new in pairs.values()], "bold", number=True)
    fields = [Field("tensor", list(pairs)), *_side(before.recipe, olds), *_side(after.recipe, news), ratio]
    return stack(title, "", grid(widest_fitting([fields], width)), "", same)


def difference_data(before: Plan, after: Plan) -> dict[str, Any]:
    """The same as data: both steps of every tensor that changes."""
    pairs = {
        name: [None if step is None else step_to_dict(step) for step in pair]
        for name, pair in differences(before, after).items()
    }
    return {"model": after.model, "recipes": [before.recipe, after.recipe], "changed": pairs}


def differences(before: Plan, after: Plan) -> dict[str, tuple[Step | None, Step | None]]:
    """The old and the new step of each tensor that two plans fill differently; None where a plan has none."""
    diff = before.diff(after)
    pairs: dict[str, tuple[Step | None, Step | None]] = {}
    pairs |= {change.after.name: (change.before, change.after) for change in diff.changed}
    pairs |= {step.name: (step, None) for step in diff.removed}
    pairs |= {step.name: (None, step) for step in diff.added}
    return pairs


def _ratio(old: Step | None, new: Step | None) -> str:
    return "" if old is None or new is None else text.number(Change(old, new).std_ratio)


def _side(recipe: str, steps: list[Step | None]) -> list[Field]:
    laws = ["absent" if step is None else action(step.action) for step in steps]
    stds = ["" if step is None else text.number(step.std) for step in steps]
    return [Field(recipe, laws, "green"), Field("std", stds, number=True)]
