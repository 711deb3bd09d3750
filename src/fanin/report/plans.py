"""A plan as a table."""

from __future__ import annotations

from math import prod

from rich.console import RenderableType
from rich.text import Text

from fanin.plans import Plan
from fanin.plans.groups import each_alone, grouped_steps
from fanin.plans.steps import Step, Unknown
from fanin.plans.text import fans, reason, std_text, times, words
from fanin.report import text
from fanin.report.layout import Field, grid, heading, references, stack, widest_fitting

Steps = tuple[Step, ...]


def plan_report(plan: Plan, width: int, model: str = "", *, group: bool = True) -> RenderableType:
    """One row per stored tensor, or per group of them: shape, role, fan-in → fan-out, initializer, std and why.

    Args:
        plan: the plan.
        width: columns of the terminal. Where the reasons do not fit beside the rows, each row has the number of its
            reason and the reasons stand below; a terminal narrower still loses shapes or fans, then the roles.
        model: what to call the model; by default its class.
        group: tell repeated layers as one.
    """
    groups = grouped_steps(plan.steps) if group else each_alone(plan.steps)
    steps = [each.members for each in groups]
    inline, noted, reasons = references("why", [reason(each) for each in steps])
    name = Field("tensor", [each.name for each in groups])
    count = Field("×", [times(each) for each in steps], "dim", number=True)
    shape = Field("shape", [text.shape(each[0].shape) for each in steps], number=True)
    role = Field("role", [each[0].role for each in steps], "dim")
    fan = Field("fan in → out", [fans(each[0].axes) for each in steps], number=True)
    law = Field("initializer", [words(each) for each in steps], "green")
    std = Field("std", [std_text(each) for each in steps], number=True)
    named = [name, count] if any(count.cells) else [name]
    choices = [
        [*named, shape, role, fan, law, std, inline],
        [*named, shape, role, fan, law, std, noted],
        [*named, role, fan, law, std, noted],
        [*named, shape, role, law, std, noted],
        [*named, role, law, std, noted],
        [*named, shape, law, std, noted],
        [*named, law, std, noted],
    ]
    chosen = widest_fitting(choices, width)
    below = [] if inline in chosen else [reasons, ""]
    styles = ["red" if isinstance(each[0].action, Unknown) else "" for each in steps]
    return stack(_title(plan, model), "", grid(chosen, styles), "", *below, *_footer(plan, len(groups)))


def _title(plan: Plan, model: str) -> Text:
    named = " · ".join(filter(None, [model or plan.model, f"recipe {plan.recipe}" if plan.recipe else ""]))
    return heading(named or "plan")


def parameters(plan: Plan) -> int:
    """How many numbers the parameters hold, tied ones once."""
    return sum(prod(step.shape) for step in plan.steps if step.kind == "parameter")


def _footer(plan: Plan, rows: int) -> list[RenderableType]:
    tensors = text.plural(len(plan), "tensor") + (f" in {text.plural(rows, 'row')}" if rows < len(plan) else "")
    notes = [Text(f"note: {note}", style="dim") for note in plan.notes]
    unknown = [Text(f"nobody could say where {name} comes from", style="bold red") for name in plan.unknown]
    return [Text(f"{tensors}, {text.plural(parameters(plan), 'parameter')}"), *notes, *unknown]
