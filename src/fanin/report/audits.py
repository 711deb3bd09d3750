"""What an audit found: the verdict, what was looked at, the findings with what to do."""

from __future__ import annotations

from collections import Counter
from math import prod

from rich.console import RenderableType
from rich.text import Text

from fanin.checking import Finding, Report
from fanin.report.layout import heading, stack

_STYLES = {"error": "bold red", "warning": "yellow", "info": "cyan"}


def audit_report(report: Report, title: str) -> RenderableType:
    """The findings, errors first.

    Args:
        report: what `fanin.audit` found.
        title: what to call what was looked at.
    """
    times = Counter(finding.severity for finding in report.findings)
    counts = ", ".join(
        f"{count} {severity}{'s' if count > 1 else ''}"
        for severity in ("error", "warning", "info")
        if (count := times[severity])
    )
    style = "bold green" if report.verdict == "healthy" else _STYLES.get(report.verdict, "bold red")
    verdict = Text.assemble("verdict: ", (report.verdict, style), f"; {counts}" if counts else "")
    notes = [Text(f"note: {note}", style="dim") for note in report.notes]
    values = sum(prod(parameter.shape) for parameter in report.parameters)
    read = Text(f"{len(report.parameters)} parameters, {values:,} values", style="dim")
    return stack(heading(f"{title} · audit"), "", read, verdict, *map(_told, report.findings), *notes)


def _told(finding: Finding) -> Text:
    return Text.assemble(
        "\n",
        (f"{finding.severity}: ", _STYLES[finding.severity]),
        (finding.tensor, "bold"),
        (f" [{finding.rule}]", "dim"),
        f"\n  {finding.seen}\n  expected {finding.expected}\n  {finding.cause}\n  ",
        ("try: ", "dim"),
        finding.remedy,
    )
