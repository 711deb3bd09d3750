"""What a check or an audit found, as a record and as plain text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import fanin
from fanin.checking.findings import Finding
from fanin.checking.layers import HEAD, LayerReport, finite
from fanin.checking.parameters import ParameterReport
from fanin.checking.stored import REPORT_VERSION
from fanin.checking.tensorboard import write_events
from fanin.checking.verdicts import Verdict
from fanin.checking.written import write_html, write_png
from fanin.pages import notebook_html, report_markdown, summary
from fanin.plans import Plan
from fanin.text_table import aligned
from fanin.torch.probe import Jacobian


@dataclass(frozen=True, slots=True)
class Report:
    """What a check or an audit found.

    Attributes:
        verdict: the gravest verdict of any layer; of an audit, "healthy" or the severity of its gravest finding.
        findings: what there is to say, errors first.
        layers: one entry for each call of each layer, in the order of the forward pass; none in an audit.
        starts: the layer where the verdict starts; None where healthy.
        loss: the number that was differentiated; None where there was no backward pass.
        parameters: one entry for each parameter.
        notes: what was measured differently than usual, or not at all, and why.
        plan: the plan that the model was compared with.
        kind: "check" or "audit".
        model: the class of the model.
        blocks: singular values of the Jacobians of blocks (what repeats through depth); only of a thorough check.

    >>> import torch, fanin
    >>> model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    >>> inputs = torch.randn(32, 64, generator=torch.Generator().manual_seed(0))
    >>> plan = fanin.initialize(model, "he", inputs)
    >>> report = fanin.check(model, inputs)
    >>> report.verdict, [layer.name for layer in report.layers]
    ('healthy', ['0', '1', '2'])
    """

    verdict: Verdict | Literal["warning", "error"]
    findings: tuple[Finding, ...]
    layers: tuple[LayerReport, ...] = ()
    starts: str | None = None
    loss: float | None = None
    parameters: tuple[ParameterReport, ...] = ()
    notes: tuple[str, ...] = ()
    plan: Plan | None = None
    kind: Literal["check", "audit"] = "check"
    model: str = ""
    blocks: tuple[Jacobian, ...] = ()

    def __str__(self) -> str:
        where = f", starting at {self.starts}" if self.starts else ""
        table = aligned([HEAD, *(layer.cells() for layer in self.layers)], left={0, 1, len(HEAD) - 1})
        parts = [
            [f"{self.verdict}{where}"],
            table if self.layers else [],
            [str(finding) for finding in self.findings],
            [f"note: {note}" for note in self.notes],
        ]
        return "\n\n".join("\n".join(part) for part in parts if part)

    def to_dict(self) -> dict[str, Any]:
        """JSON form; `json.dumps` takes it as it is (numbers that are NaN or infinite do not occur)."""
        return {
            "fanin_report": REPORT_VERSION,
            "fanin": fanin.__version__,
            "kind": self.kind,
            "model": self.model,
            "verdict": self.verdict,
            "starts": self.starts,
            "loss": finite(self.loss),
            "notes": list(self.notes),
            "findings": [finding.to_dict() for finding in self.findings],
            "layers": [layer.to_dict() for layer in self.layers],
            "blocks": [asdict(block) for block in self.blocks],
            "parameters": [parameter.to_dict() for parameter in self.parameters],
            "plan": None if self.plan is None else self.plan.to_dict(),
        }

    def to_json(self, indent: int | None = 1) -> str:
        """The report as JSON text, which `to_html(…, before=path)` compares a later one with."""
        return json.dumps(self.to_dict(), indent=indent, ensure_ascii=False, allow_nan=False)

    def to_html(self, path: str | Path, before: Report | str | Path | None = None) -> Path:
        """Write the report as one HTML file that needs no network: findings, signal, layers, parameters, plan.

        Args:
            path: the file.
            before: an earlier report of the model, or the file of its JSON; the page then shows what changed.

        Raises:
            WeightsError: the file cannot be written.
            DataError: `before` is no report.
        """
        return write_html(self.to_dict(), path, _data(before))

    def to_png(self, path: str | Path, before: Report | str | Path | None = None) -> Path:
        """Write the moments through depth, measured and predicted, as a PNG.

        Raises:
            MissingExtraError: matplotlib is not installed.
            ArgumentError: the report has no layers.
            WeightsError: the file cannot be written.
            DataError: `before` is no report.
        """
        return write_png(self.to_dict(), path, _data(before))

    def to_markdown(self) -> str:
        """The verdict, the findings and the layers as Markdown."""
        return report_markdown(self.to_dict())

    def to_tensorboard(self, writer: Any, step: int = 0) -> None:
        """Write scalars and histograms for TensorBoard.

        Args:
            writer: a folder, or a `torch.utils.tensorboard.SummaryWriter`, which stays open.
            step: the global step of the events.

        Raises:
            MissingExtraError: tensorboard is not installed.
        """
        write_events(self.to_dict(), writer, step)

    def summary(self) -> str:
        """One line for logs: the verdict, where it starts, the loss, how many findings of which rules."""
        return summary(self.to_dict())

    def _repr_html_(self) -> str:
        return notebook_html(self.to_dict())


def _data(before: Report | str | Path | None) -> str | Path | Mapping[str, Any] | None:
    return before.to_dict() if isinstance(before, Report) else before
