"""What the callbacks share: audit and check a model, then warn or stop."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from torch import nn

from fanin.auditing import audit
from fanin.checking import Finding, Report, check
from fanin.checking.asserting import allowed_patterns, counts, unhealthy_text
from fanin.errors import ArgumentError, FaninError, UnhealthyError
from fanin.integrations.random_states import random_states_kept
from fanin.plans import Plan

Conduct = Literal["warn", "stop"]
_GRAVITY = {"error": 0, "warning": 1, "info": 2}


class HealthWarning(UserWarning):
    """What an audit or a check found in a model that is about to be trained."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a callback was told.

    Raises:
        ArgumentError: `on` is neither "warn" nor "stop"; `allow` is no sequence of rules; `plan` is no plan.
    """

    on: Conduct = "warn"
    report: str | Path | None = None
    thorough: bool = False
    plan: Plan | None = None
    allow: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.on not in ("warn", "stop"):
            raise ArgumentError(f"on must be 'warn' or 'stop', got {self.on!r}")
        _check_plan(self.plan)
        allowed_patterns(self.allow)


def _check_plan(plan: object) -> None:
    if plan is not None and not isinstance(plan, Plan):
        raise ArgumentError(f"plan must be a fanin.Plan, got {type(plan).__name__}")


def audited(model: nn.Module, settings: Settings) -> Report:
    """The audit of the model."""
    with random_states_kept():
        return audit(model, settings.plan)


def checked(model: nn.Module, inputs: Any, loss: Callable[[Any], Any] | None, settings: Settings) -> Report:
    """The check of the model on its first batch."""
    with random_states_kept():
        return check(model, inputs, loss, plan=settings.plan, thorough=settings.thorough)


def started(
    name: str,
    looks: Sequence[Callable[[], Report]],
    settings: Settings,
    notes: Sequence[str] = (),
    *,
    first: bool = True,
) -> Report | None:
    """Look at a model, write the report, then warn or stop.

    Args:
        name: class of the model.
        looks: the audit and the check, in this order; one that fails is told, and stops where `on` is "stop".
        settings: what to do.
        notes: what the report says besides.
        first: whether this process writes and warns (all of them stop).

    Returns:
        What was found, in one report; None if no look succeeded.

    Raises:
        UnhealthyError: a finding of severity "error", with `on="stop"`.
        FaninError: a look failed, with `on="stop"`.
    """
    seen: list[Report] = []
    for look in looks:
        try:
            seen.append(look())
        except FaninError as error:
            if settings.on == "stop":
                raise
            _warn(f"{name} could not be looked at before training: {error}", first)
    if not seen:
        return None
    report = _joined(seen, name, notes)
    if settings.report is not None and first:
        report.to_html(settings.report)
    left = [finding for finding in report.findings if counts(finding, settings.allow)]
    errors = [finding for finding in left if finding.severity == "error"]
    if errors and settings.on == "stop":
        raise UnhealthyError(unhealthy_text(name, report.verdict, left), left)
    if left:
        _warn(unhealthy_text(name, report.verdict, left), first)
    return report


def _warn(text: str, first: bool) -> None:
    if first:
        warnings.warn(text, HealthWarning, stacklevel=4)


def _joined(reports: Sequence[Report], name: str, more: Sequence[str]) -> Report:
    """The last report with the findings of all, each rule once for a tensor, errors first."""
    found: dict[tuple[str, str], Finding] = {}
    for finding in (finding for report in reports for finding in report.findings):
        found.setdefault((finding.rule, finding.tensor), finding)
    ordered = sorted(found.values(), key=lambda finding: _GRAVITY[finding.severity])
    verdicts = [report.verdict for report in reversed(reports)]
    verdict = next((each for each in verdicts if each != "healthy"), "healthy")
    notes = tuple(dict.fromkeys([*(note for report in reports for note in report.notes), *more]))
    return replace(reports[-1], findings=tuple(ordered), verdict=verdict, notes=notes, model=name)
