"""What two plans do differently."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fanin.plans.groups import Group, alike, grouped
from fanin.plans.json_form import step_to_dict
from fanin.plans.markdown import markdown_table
from fanin.plans.spans import masked, span, spanned
from fanin.plans.steps import Step
from fanin.plans.text import shape_text, std_text, times, words
from fanin.plans.words import values_with_std
from fanin.text_table import number


@dataclass(frozen=True, slots=True)
class Change:
    """One tensor that two plans treat differently; None where one of them does not have it."""

    before: Step | None
    after: Step | None

    @property
    def step(self) -> Step:
        """The new step, or the old one of a tensor that is gone."""
        told = self.after or self.before
        if told is None:
            raise ValueError("a change has at least one side")
        return told

    @property
    def std_ratio(self) -> float | None:
        """New standard deviation over the old one, where both steps draw and the old one is not 0."""
        if self.before is None or self.after is None:
            return None
        old, new = self.before.std, self.after.std
        return new / old if old and new is not None else None

    def __str__(self) -> str:
        return _line(Group(self.step.name, (self,)))


@dataclass(frozen=True, slots=True)
class PlanDiff:
    """Tensors that only the second plan has, only the first has, and those that get other values, shape or dtype.

    Attributes:
        added: steps that only the second plan has.
        removed: steps that only the first plan has.
        changed: the tensors that both have and treat differently.
        recipes: the recipes of both plans.
        same: how many tensors both treat alike.
        notes: documented mistakes of the authors' own code that the difference shows.

    >>> from fanin.initializers import Normal
    >>> from fanin.plans import Plan
    >>> from fanin.plans.steps import Draw
    >>> steps = [Step(f"h.{layer}.w", (4, 3), "float32", "parameter", Draw(Normal()), "") for layer in range(3)]
    >>> plan = Plan(tuple(steps), recipe="mine")
    >>> print(plan.diff(plan.override({"h.1.w": Normal(std=0.5), "h.2.w": Normal(std=0.25)})))
    ~ h.1-2.w (2 tensors): normal, std 1 → normal, std 0.5 … 0.25  (std × 0.5 … 0.25)
    """

    added: tuple[Step, ...] = ()
    removed: tuple[Step, ...] = ()
    changed: tuple[Change, ...] = ()
    recipes: tuple[str, str] = ("", "")
    same: int = 0
    notes: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)

    def __str__(self) -> str:
        lines = [_line(group) for group in self.groups()]
        return "\n".join([*(lines or ["no difference"]), *(f"note: {note}" for note in self.notes)])

    @property
    def changes(self) -> tuple[Change, ...]:
        """All of them: added, removed, changed."""
        one_sided = [Change(None, step) for step in self.added] + [Change(step, None) for step in self.removed]
        return (*one_sided, *self.changed)

    def groups(self, *, group: bool = True) -> list[Group[Change]]:
        """The changes, those of repeated layers as one."""
        if not group:
            return [Group(change.step.name, (change,)) for change in self.changes]
        return grouped(self.changes, name=lambda change: change.step.name, alike=_alike)

    def to_markdown(self, *, group: bool = True) -> str:
        """The difference as a Markdown table, with the reasons and their sources below."""
        groups = self.groups(group=group)
        reasons, source = citations([each.members for each in groups])
        rows = [_row(each, self.recipes) | {"why": why} for each, why in zip(groups, reasons, strict=True)]
        below = [f"Source: {source}."] if source else []
        notes = [f"Note: {note}" for note in self.notes]
        return "\n\n".join([markdown_table(rows) if rows else "No difference.", *below, *notes]) + "\n"

    def to_dict(self) -> dict[str, Any]:
        """JSON form: both steps of every tensor that changes, by name, with the ratio of their std."""
        changed = {change.step.name: [_side(change.before), _side(change.after)] for change in self.changes}
        ratios = {change.step.name: change.std_ratio for change in self.changed}
        head = {"recipes": list(self.recipes), "same": self.same, "notes": list(self.notes)}
        return head | {"changed": changed, "std_ratios": ratios}


def diff(before: Mapping[str, Step], after: Mapping[str, Step]) -> PlanDiff:
    """What `after` does differently from `before`, laws compared to 12 digits; iteration visits each tensor once."""
    both = [name for name in after if name in before]
    changed = [name for name in both if _substance(before[name]) != _substance(after[name])]
    return PlanDiff(
        added=tuple(after[name] for name in after if name not in before),
        removed=tuple(before[name] for name in before if name not in after),
        changed=tuple(Change(before[name], after[name]) for name in changed),
        same=len(both) - len(changed),
    )


def ratio_text(changes: Sequence[Change]) -> str:
    """The ratio of stds, or from which to which it runs."""
    ratios = [number(change.std_ratio) for change in changes if change.std_ratio is not None]
    return span(ratios) if ratios else ""


def side(changes: Sequence[Change], *, after: bool) -> list[Step]:
    """The steps of one side, where there are any."""
    steps = [change.after if after else change.before for change in changes]
    return [step for step in steps if step is not None]


def citations(groups: Sequence[Sequence[Change]]) -> tuple[list[str], str]:
    """Why the new plan does each, and who says so: sources that stand beside the reasons, and the most common one."""
    sources = Counter(change.step.source for changes in groups for change in changes if change.step.source)
    common = sources.most_common(1)[0][0] if sources else ""
    return [spanned([_cited(change.step, common) for change in changes]) for changes in groups], common


def _cited(step: Step, common: str) -> str:
    return " — ".join(filter(None, (step.why, "" if step.source == common else step.source)))


def _alike(change: Change) -> Hashable:
    sides = tuple(None if step is None else alike(step) for step in (change.before, change.after))
    return sides, masked(change.step.why), masked(change.step.source)


def _substance(step: Step) -> tuple[object, ...]:
    what = step.action if step.initializer is None else _rounded(step.initializer.to_dict())
    return what, step.shape, step.dtype, step.kind


def _rounded(value: Any) -> Any:
    """Numbers to 12 digits: two formulas of one number differ in the last bits."""
    match value:
        case float():
            return float(f"{value:.12g}")
        case dict():
            return {key: _rounded(item) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType]
        case list() | tuple():
            return [_rounded(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
        case _:
            return value


def _side(step: Step | None) -> dict[str, Any] | None:
    return None if step is None else step_to_dict(step)


def _line(group: Group[Change]) -> str:
    first = group.members[0]
    sign = "~" if first.before and first.after else "+" if first.after else "-"
    count = f" ({len(group.members)} tensors)" if len(group.members) > 1 else ""
    sides = [side(group.members, after=after) for after in (False, True)]
    stored = len({(steps[0].shape, steps[0].dtype) for steps in sides if steps}) > 1 or sign != "~"
    told = " → ".join(_described(steps, stored) for steps in sides if steps)
    ratio = ratio_text(group.members)
    return f"{sign} {group.name}{count}: {told}" + (f"  (std × {ratio})" if ratio else "")


def _described(steps: Sequence[Step], stored: bool) -> str:
    shape = f" {steps[0].dtype}{list(steps[0].shape)}" if stored else ""
    return spanned([values_with_std(step) for step in steps]) + shape


def _row(group: Group[Change], recipes: tuple[str, str]) -> dict[str, str]:
    old, new = (side(group.members, after=after) for after in (False, True))
    names = [recipe or which for recipe, which in zip(recipes, ("before", "after"), strict=True)]
    step = group.members[0].step
    row = {"tensor": f"`{group.name}`", "×": times(group.members), "shape": shape_text(step.shape), "role": step.role}
    for name, steps, mark in zip(names, (old, new), ("", " "), strict=True):
        row[name + mark] = words(steps) if steps else "absent"
        row[f"std{mark}"] = std_text(steps)
    return row | {"std ×": ratio_text(group.members)}
