"""What a mean-field view holds, as a record and as a table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from math import inf, isfinite
from pathlib import Path
from typing import Any, Literal

from fanin.gains.critical_line import Branch
from fanin.gains.fixed_points import FixedPoint, VarianceMap
from fanin.gains.medium import Medium
from fanin.gains.passage import Layer, passage
from fanin.mean_field.picture import draw

Phase = Literal["ordered", "critical", "chaotic"]
Points = tuple[tuple[float, float], ...]

_MEANING = {
    "ordered": "gradients vanish, signals become alike",
    "critical": "gradients keep their size",
    "chaotic": "gradients explode, signals that were alike part",
}


@dataclass(frozen=True, slots=True)
class ActivationView:
    """What deep random networks of an activation do to signals, in the limit of wide layers.

    Attributes:
        name: the activation's, or that of the callable.
        parameter: the activation's number, where one was given.
        weight_std: σ_w, √fan_in times the std of weights.
        bias_std: σ_b, the std of biases.
        phase: by χ₁: "ordered" below 1, "chaotic" above 1, "critical" within 1e-4 of 1.
        chi: χ₁ = σ_w²·E[f′(√q* z)²], the factor on the second moment of gradients per layer.
        variance: q*, what the second moment of pre-activations comes to; 0: it dies out, infinite: it grows for ever.
        variance_length: ξ_q, the depth in which a deviation from q* falls to 1/e.
        fixed_points: all fixed points of the variance map.
        correlation: c*, what the correlation of two signals comes to.
        correlation_length: ξ_c, the depth in which a deviation from c* falls to 1/e; infinite at criticality.
        survives: 6·ξ_c, the depth up to which inputs can still be told apart; where signals grow without bound six
            times the depth in which E[h²] grows by e.
        critical_weight_std: σ_w with χ₁ = 1 at this σ_b; None if there is none.
        critical_line: the edge of chaos, (σ_w, σ_b), in branches.
        variance_map: (q, q′) around q*.
        correlation_map: (c, c′) at q*, for c from 0 to 1.

    >>> import fanin
    >>> view = fanin.activation("gelu")
    >>> view.phase, round(view.weight_std**2, 5), round(view.bias_std**2, 5)
    ('critical', 1.98306, 0.17292)
    """

    name: str
    parameter: float | None
    weight_std: float
    bias_std: float
    phase: Phase
    chi: float
    variance: float
    variance_length: float
    fixed_points: tuple[FixedPoint, ...]
    correlation: float
    correlation_length: float
    survives: float
    critical_weight_std: float | None
    critical_line: tuple[Branch, ...] = field(repr=False)
    variance_map: Points = field(repr=False)
    correlation_map: Points = field(repr=False)
    medium: Medium = field(repr=False, compare=False)

    def through(self, depth: int, correlation: float = 0.5) -> tuple[Layer, ...]:
        """q, c and the gradient's factor in every layer of a network of this depth.

        Args:
            depth: number of layers.
            correlation: of two inputs with E[x²] = 1, from 0 to 1.

        Raises:
            ArgumentError: a depth below 1, or no such correlation.

        >>> import fanin
        >>> last = fanin.activation("relu").through(20)[-1]
        >>> last.variance, round(last.correlation, 3)
        (2.0, 0.952)
        """
        return passage(self.medium, self._map(), depth, correlation)

    def to_dict(self) -> dict[str, Any]:
        """JSON form; what is infinite is null (q* of a signal that grows for ever, lengths at criticality)."""
        return {
            "activation": self.name,
            "parameter": self.parameter,
            "weight_std": self.weight_std,
            "bias_std": self.bias_std,
            "phase": self.phase,
            "chi": self.chi,
            "variance": _finite(self.variance),
            "variance_length": _finite(self.variance_length),
            "fixed_points": [
                {name: _finite(each) if isinstance(each, float) else each for name, each in asdict(point).items()}
                for point in self.fixed_points
            ],
            "correlation": self.correlation,
            "correlation_length": _finite(self.correlation_length),
            "survives": _finite(self.survives),
            "critical_weight_std": self.critical_weight_std,
            "critical_line": [[list(point) for point in branch] for branch in self.critical_line],
            "variance_map": [list(point) for point in self.variance_map],
            "correlation_map": [list(point) for point in self.correlation_map],
        }

    def plot(self, path: str | Path) -> Path:
        """Draw the variance map, the correlation map and the critical line into a .png, .svg or .pdf.

        Raises:
            MissingExtraError: matplotlib is not installed.
            ArgumentError: another suffix.
            WeightsError: the file cannot be written.
        """
        return draw(self, Path(path))

    def __str__(self) -> str:
        rows = list(self._rows())
        widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
        lines = [f"{a.ljust(widths[0])}  {b.ljust(widths[1])}  {c}".rstrip() for a, b, c in rows]
        title = self.name if self.parameter is None else f"{self.name}({self.parameter:g})"
        return "\n".join([f"{title}, σ_w = {self.weight_std:.6g}, σ_b = {self.bias_std:.6g}: {self.phase}", *lines])

    def _rows(self) -> Iterator[tuple[str, str, str]]:
        yield "χ₁", _shown(self.chi), _MEANING[self.phase]
        yield "q*", _shown(self.variance), self._variance_words()
        others = [point for point in self.fixed_points if point.variance != self.variance]
        for point in others:
            yield "other q", _shown(point.variance), f"{point.kind}, dq′/dq = {_shown(point.slope)}"
        yield "ξ_q", _shown(self.variance_length), "layers in which a deviation from q* falls to 1/e"
        yield "c*", _shown(self.correlation), "what the correlation of two inputs comes to"
        yield "ξ_c", _shown(self.correlation_length), "layers in which a deviation from c* falls to 1/e"
        yield "depth", _shown(self.survives), self._depth_words()
        if self.critical_weight_std is None:
            yield "critical σ_w", "none", f"no σ_w has χ₁ = 1 at σ_b = {self.bias_std:.4g}"
        else:
            yield "critical σ_w", _shown(self.critical_weight_std), f"χ₁ = 1 at σ_b = {self.bias_std:.4g}"

    def _variance_words(self) -> str:
        if self.fixed_points and self.fixed_points[0].kind == "any scale":
            return "every second moment of pre-activations is kept"
        if self.variance == 0:
            return "signals die out"
        return "signals grow without bound" if self.variance == inf else "second moment of pre-activations, kept"

    def _depth_words(self) -> str:
        if not isfinite(self.survives):
            return "no limit of this kind: deviations fade slower than exponentially"
        if 0 < self.variance < inf:
            return "6·ξ_c: inputs can be told apart"
        return f"6 times what E[h²] takes to {'grow by e' if self.variance else 'fall to 1/e'}"

    def _map(self) -> VarianceMap:
        return VarianceMap(self.medium.response, self.weight_std**2, self.bias_std**2)


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None


def _shown(value: float) -> str:
    return "∞" if value == inf else f"{value:.4g}"
