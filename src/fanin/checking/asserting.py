"""A check as one line of a test: `assert_healthy(model, batch)`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any, cast

from torch import nn

from fanin.checking.findings import Finding
from fanin.checking.report import Report
from fanin.checking.signal import check
from fanin.errors import ArgumentError, UnhealthyError
from fanin.plans import Plan
from fanin.torch.probe.batch import Loss


def assert_healthy(
    model: nn.Module,
    batch: Any = None,
    loss: Loss = None,
    *,
    plan: Plan | None = None,
    allow: Sequence[str] = (),
    thorough: bool = False,
) -> Report:
    """Check a model on one batch and raise unless nothing above "info" is found; for tests.

    The model is left exactly as it was, as `fanin.check` leaves it.

    Args:
        model: any module with values.
        batch: a batch; a tuple of positional or a mapping of keyword arguments; None for a made-up one.
        loss: as of `fanin.check`: callable on the output, integer labels, or None.
        plan: also compare the weights with this plan.
        allow: rules of findings that do not count ("dead-units"), or "rule:tensor" where only that tensor's do not;
            * stands for any characters.
        thorough: also measure what takes more passes.

    Returns:
        The report, whose findings are "info" or allowed.

    Raises:
        UnhealthyError: an `AssertionError` with the text of the findings.
        DataError, PlanError: as `fanin.check`.
        ArgumentError: `allow` is a string, or the like.

    >>> import torch
    >>> model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 4))
    >>> assert_healthy(model, torch.randn(16, 8)).verdict
    'healthy'
    >>> _ = nn.init.normal_(model[0].weight, std=1000)
    >>> assert_healthy(model, torch.randn(16, 8))
    Traceback (most recent call last):
    ...
    fanin.errors.UnhealthyError: Sequential is exploding...
    """
    __tracebackhide__ = True  # pytest shows the line of the test
    patterns = allowed_patterns(allow)
    report = check(model, batch, loss, plan=plan, thorough=thorough)
    left = [finding for finding in report.findings if counts(finding, patterns)]
    if left:
        raise UnhealthyError(unhealthy_text(report.model, report.verdict, left), left)
    return report


def allowed_patterns(allow: Sequence[str]) -> tuple[str, ...]:
    """`allow`, if it is a sequence of strings.

    Raises:
        ArgumentError: it is not.
    """
    given: Any = allow
    if isinstance(given, str) or not isinstance(given, Iterable) or not _are_strings(cast("Iterable[Any]", given)):
        raise ArgumentError(f'allow takes a tuple of rules, as ("dead-units", "twins:fc1.weight"), got {given!r}')
    return tuple(allow)


def _are_strings(values: Iterable[Any]) -> bool:
    return all(isinstance(each, str) for each in values)


def counts(finding: Finding, allow: Sequence[str]) -> bool:
    """Whether a finding is graver than "info", and not allowed."""
    if finding.severity == "info":
        return False
    named = (finding.rule, f"{finding.rule}:{finding.tensor}")
    return not any(fnmatchcase(name, pattern) for name in named for pattern in allow)


def unhealthy_text(model: str, verdict: str, findings: Sequence[Finding]) -> str:
    """What is wrong with a model, a line for each finding."""
    said = f"{len(findings)} finding{'s' if len(findings) > 1 else ''}"
    state = f"is {verdict}" if verdict != "healthy" else "has"
    head = f"{model} {state}{': ' if verdict != 'healthy' else ' '}{said}"
    return "\n".join([head, *(f"  [{finding.rule}] {finding}" for finding in findings)])
