"""One call of one layer: what was measured, with what theory expects beside it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isfinite

from torch import Tensor

from fanin.torch.probe.moments import Moments
from fanin.torch.probe.signal import Node


@dataclass(frozen=True, slots=True)
class LayerProbe:
    """One call of one layer.

    Attributes:
        name: qualified module name; "fc1:relu" for a function applied after it; "act#2" for a second call.
        kind: "weight", "activation", "norm", "embedding" or "other".
        type: class of the module, or the function.
        shape: shape of the output.
        units: size of the unit dimension; None where it is not known.
        dead: units that are zero for every sample and position; None where not counted.
        forward: moments of the output.
        varying: the part of E[h²] that differs between samples; None for a single sample.
        expected_forward: E[h²] that theory expects; None where it has no answer.
        gradient: moments of the loss's gradient with respect to the output; None where none arrives.
        expected_gradient: E[g²] that theory expects; None where it has no answer.
        weight: the parameter that the layer multiplies with, and `bias`; None where there is none.
        expected_why: why theory has no answer forward; None where it has one.
        saturated: units of an activation whose slope is nearly zero on the batch, though their output is not zero.
        correlation: mean cosine between the outputs of distinct samples (or tokens); None for fewer than two.
        effective_rank: exp of the entropy of the singular values of those outputs, of at most 64 rows.
        entropy: mean entropy of attention over the logarithm of the number of keys in sight; 1 is uniform.
        jacobian: largest and smallest singular value of the layer's Jacobian; None where not measured.
        reads: a number for the tensor that the layer reads: layers side by side have the same; None where not known.
        precision: relative error of the output in bfloat16; None where not measured.
    """

    name: str
    kind: str
    type: str
    shape: tuple[int, ...]
    units: int | None
    dead: int | None
    forward: Moments
    varying: float | None
    weight: str | None
    bias: str | None
    expected_forward: float | None = None
    gradient: Moments | None = None
    expected_gradient: float | None = None
    expected_why: str | None = None
    saturated: int | None = None
    correlation: float | None = None
    effective_rank: float | None = None
    entropy: float | None = None
    jacobian: tuple[float, float | None] | None = None
    precision: float | None = None
    reads: int | None = None


@dataclass(eq=False, slots=True)
class Row:
    """One call of one layer, as it is being measured: the forward half, the node of its output, the gradient."""

    forward_pass: LayerProbe
    node: Node | None
    gradient: Moments | None = None

    def measured(self) -> LayerProbe:
        """Both halves, with what theory expects beside them."""
        return replace(
            self.forward_pass,
            expected_forward=self._expected_forward(),
            gradient=self.gradient,
            expected_gradient=self._expected_gradient(),
            expected_why=self._why(),
        )

    def _why(self) -> str | None:
        """Why theory expects nothing of the output."""
        if self._expected_forward() is not None:
            return None
        reason = "" if self.node is None else self.node.why
        return f"not predicted: {reason or 'the theory does not follow the signal up to here'}"

    def _expected_forward(self) -> float | None:
        """E[h²] of the signal, averaged over samples and positions."""
        signal = None if self.node is None else self.node.signal
        return None if signal is None else _finite(signal.second)

    def _expected_gradient(self) -> float | None:
        """E[g²] that the backward sweep brought, averaged; None at boundaries, where it was measured."""
        node = self.node
        if node is None or node.boundary or node.lost or node.expected is None or self.gradient is None:
            return None
        return _finite(node.expected)


def _finite(map_: Tensor) -> float | None:
    value = float(map_.mean())
    return value if isfinite(value) else None
