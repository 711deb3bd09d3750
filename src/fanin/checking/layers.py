"""One layer in a report: what was measured, what was expected, the verdict."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Any

from fanin.checking.parameters import histogram_to_dict
from fanin.checking.verdicts import Judged, Verdict
from fanin.torch.probe import LayerProbe, Moments

HEAD = ("layer", "kind", "E[h²]", "expected", "std", "zeros", "dead", "E[g²]", "expected", "verdict")
_PLAIN = ("name", "kind", "type", "weight", "bias", "units", "dead", "saturated")


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
        """JSON form: the measurements and the verdict, flat; null for what was not measured or is not finite."""
        seen = self.measured
        largest, smallest = seen.jacobian or (None, None)
        return {name: getattr(seen, name) for name in _PLAIN} | {
            "shape": list(seen.shape),
            "verdict": self.verdict,
            "direction": self.direction,
            "forward_ratio": finite(self.forward_ratio),
            "signal_ratio": finite(self.signal_ratio),
            "backward_ratio": finite(self.backward_ratio),
            "forward": _moments_to_dict(seen.forward),
            "varying": finite(seen.varying),
            "expected_forward": finite(seen.expected_forward),
            "expected_why": seen.expected_why,
            "gradient": None if seen.gradient is None else _moments_to_dict(seen.gradient),
            "expected_gradient": finite(seen.expected_gradient),
            "correlation": finite(seen.correlation),
            "effective_rank": finite(seen.effective_rank),
            "jacobian": None if seen.jacobian is None else {"largest": finite(largest), "smallest": finite(smallest)},
            "entropy": finite(seen.entropy),
            "precision": finite(seen.precision),
        }

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


def _moments_to_dict(seen: Moments) -> dict[str, Any]:
    spread = seen.spread
    return {
        "count": seen.count,
        "mean": finite(seen.mean),
        "second": finite(seen.second),
        "std": finite(seen.std),
        "max_abs": finite(seen.max_abs),
        "zeros": seen.zeros,
        "non_finite": seen.non_finite,
        "quantiles": None if spread is None else [list(pair) for pair in spread.quantiles],
        "histogram": None if spread is None else histogram_to_dict(spread.histogram),
    }


def finite(value: float | None) -> float | None:
    """The number, None where it is NaN or infinite: JSON has no word for these."""
    return value if value is not None and isfinite(value) else None


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"
