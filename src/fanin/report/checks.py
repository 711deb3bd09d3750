"""What a check found: the signal layer by layer, the verdict, the findings."""

from __future__ import annotations

from rich.console import RenderableType
from rich.text import Text

from fanin.checking import Finding, LayerReport, Report
from fanin.report import text
from fanin.report.layout import Field, grid, heading, stack, widest_fitting

_STYLES = {"error": "bold red", "warning": "yellow", "info": "cyan"}


def check_report(report: Report, width: int, model: str = "") -> RenderableType:
    """One row per layer with E[h²] of its outputs and E[g²] of their gradients beside what theory expects.

    Args:
        report: what `fanin.check` found.
        width: columns of the terminal; a narrow one loses the classes, spreads and zeros, then what is expected.
        model: what to call the model.
    """
    where = f", starting at {report.starts}" if report.starts else ""
    verdict = Text.assemble(
        "verdict: ", (report.verdict, _style(report.verdict)), f"{where}; loss {text.number(report.loss)}"
    )
    findings = [_finding(finding) for finding in report.findings]
    rows = grid(_columns(report.layers, width), [_row_style(layer) for layer in report.layers])
    return stack(heading(f"{model or 'check'} · signal by layer"), "", rows, "", verdict, *findings)


def _columns(layers: tuple[LayerReport, ...], width: int) -> list[Field]:
    seen = [layer.measured for layer in layers]
    dead = ["" if probe.dead is None else f"{probe.dead} of {probe.units}" for probe in seen]
    name = Field("layer", [layer.name for layer in layers])
    kind = Field("class", [probe.type for probe in seen], "dim")
    spread = [
        Field("std", [text.number(probe.forward.std) for probe in seen], number=True),
        Field("zeros", [f"{probe.forward.zeros:.0%}" for probe in seen], number=True),
    ]
    signal = [
        Field("E[h²]", [text.number(probe.forward.second) for probe in seen], number=True),
        Field("expected", [text.number(probe.expected_forward) for probe in seen], "dim", number=True),
    ]
    gradient = [
        Field("E[g²]", [text.number(None if p.gradient is None else p.gradient.second) for p in seen], number=True),
        Field("expected", [text.number(probe.expected_gradient) for probe in seen], "dim", number=True),
    ]
    rest = [Field("dead", dead, number=True), Field("verdict", [layer.verdict for layer in layers])]
    choices = [
        [name, kind, *signal, *spread, *gradient, *rest],
        [name, *signal, *gradient, *rest],
        [name, *signal, *gradient, rest[1]],
        [name, signal[0], gradient[0], rest[1]],
    ]
    return widest_fitting(choices, width)


def _style(verdict: str) -> str:
    return "bold green" if verdict == "healthy" else "bold red"


def _row_style(layer: LayerReport) -> str:
    return "" if layer.verdict == "healthy" else "red"


def _finding(finding: Finding) -> Text:
    return Text.assemble(
        "\n",
        (f"{finding.severity}: ", _STYLES[finding.severity]),
        (finding.tensor, "bold"),
        f": {finding.seen}, expected {finding.expected}; {finding.cause}.\n",
        ("try: ", "dim"),
        finding.remedy,
    )
