"""What two plans do differently."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fanin.plan_text import values
from fanin.steps import Step


@dataclass(frozen=True, slots=True)
class Change:
    """One tensor that two plans treat differently."""

    before: Step
    after: Step

    @property
    def std_ratio(self) -> float | None:
        """New standard deviation over the old one, where both steps draw and the old one is not 0."""
        old, new = self.before.std, self.after.std
        return new / old if old and new is not None else None

    def __str__(self) -> str:
        sides = [_described(self.before), _described(self.after)]
        ratio = "" if self.std_ratio is None else f"  (std × {self.std_ratio:.4g})"
        return f"{self.after.name}: {sides[0]} → {sides[1]}{ratio}"


@dataclass(frozen=True, slots=True)
class PlanDiff:
    """Tensors that only the second plan has, only the first has, and those that get other values, shape or dtype."""

    added: tuple[Step, ...] = ()
    removed: tuple[Step, ...] = ()
    changed: tuple[Change, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)

    def __str__(self) -> str:
        lines = [f"+ {step.name}: {_described(step)}" for step in self.added]
        lines += [f"- {step.name}: {_described(step)}" for step in self.removed]
        lines += [f"~ {change}" for change in self.changed]
        return "\n".join(lines) or "no difference"


def diff(before: Mapping[str, Step], after: Mapping[str, Step]) -> PlanDiff:
    """What `after` does differently from `before`; iteration visits each stored tensor once."""
    return PlanDiff(
        added=tuple(after[name] for name in after if name not in before),
        removed=tuple(before[name] for name in before if name not in after),
        changed=tuple(
            Change(before[name], after[name])
            for name in after
            if name in before and _substance(before[name]) != _substance(after[name])
        ),
    )


def _substance(step: Step) -> tuple[object, ...]:
    return step.action, step.shape, step.dtype, step.kind


def _described(step: Step) -> str:
    return f"{values(step)} {step.dtype}{list(step.shape)}"
