"""What a check found, as a record and as plain text."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from fanin.checking.findings import Finding
from fanin.checking.verdicts import Judged, Verdict
from fanin.text_table import aligned
from fanin.torch.probe import LayerProbe

_HEAD = ("layer", "kind", "E[h²]", "expected", "std", "zeros", "dead", "E[g²]", "expected", "verdict")


@dataclass(frozen=True, slots=True)
class LayerReport:
    """One layer: what was measured, what was expected, the verdict.

    Attributes:
        measured: moments of outputs and gradients with their expected second moments (`fanin.torch.probe.LayerProbe`).
        verdict: see docs/check.md.
        direction: where the verdict shows: "forward", "backward" or "".
        forward_ratio: E[h²] relative to the start of the stretch of layers.
        signal_ratio: the same for the part that differs between samples.
        backward_ratio: energy of the gradient relative to the end of the stretch.
    """

    measured: LayerProbe
    verdict: Verdict
    direction: str
    forward_ratio: float | None
    signal_ratio: float | None
    backward_ratio: float | None

    @classmethod
    def of(cls, row: Judged) -> LayerReport:
        """The report of one judged layer."""
        return cls(row.layer, row.verdict, row.direction, row.forward_ratio, row.signal_ratio, row.backward_ratio)

    @property
    def name(self) -> str:
        """Qualified name of the layer."""
        return self.measured.name

    def to_dict(self) -> dict[str, Any]:
        """JSON form: the measurements and the verdict, flat."""
        verdict = {
            key: getattr(self, key)
            for key in ("verdict", "direction", "forward_ratio", "signal_ratio", "backward_ratio")
        }
        return asdict(self.measured) | verdict

    def cells(self) -> tuple[str, ...]:
        """The layer as a row of the table."""
        seen = self.measured
        dead = "" if seen.dead is None else f"{seen.dead}/{seen.units}"
        return (
            seen.name,
            seen.kind,
            _number(seen.forward.second),
            _number(seen.expected_forward),
            _number(seen.forward.std),
            f"{seen.forward.zeros:.0%}",
            dead,
            _number(None if seen.gradient is None else seen.gradient.second),
            _number(seen.expected_gradient),
            self.verdict,
        )


@dataclass(frozen=True, slots=True)
class Report:
    """What a check found.

    Attributes:
        verdict: the gravest verdict of any layer.
        findings: what there is to say, errors first.
        layers: one entry for each call of each layer, in the order of the forward pass.
        starts: the layer where the verdict starts; None where healthy.
        loss: the number that was differentiated.

    >>> import torch, fanin
    >>> model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    >>> inputs = torch.randn(32, 64, generator=torch.Generator().manual_seed(0))
    >>> plan = fanin.initialize(model, "he", inputs)
    >>> report = fanin.check(model, inputs)
    >>> report.verdict, [layer.name for layer in report.layers]
    ('healthy', ['0', '1', '2'])
    """

    verdict: Verdict
    findings: tuple[Finding, ...]
    layers: tuple[LayerReport, ...]
    starts: str | None = None
    loss: float = 0.0

    def __str__(self) -> str:
        where = f", starting at {self.starts}" if self.starts else ""
        table = aligned([_HEAD, *(layer.cells() for layer in self.layers)], left={0, 1, len(_HEAD) - 1})
        return "\n".join(
            [f"{self.verdict}{where}", "", *table, *([""] if self.findings else []), *map(str, self.findings)]
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON form; `json.dumps` takes it as it is (numbers that are NaN or infinite do not occur)."""
        return {
            "verdict": self.verdict,
            "starts": self.starts,
            "loss": self.loss if abs(self.loss) < float("inf") else None,
            "findings": [finding.to_dict() for finding in self.findings],
            "layers": [layer.to_dict() for layer in self.layers],
        }


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"
