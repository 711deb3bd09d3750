"""What theory expects of a tensor: its moments over a layer's units, for each sample and position."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from fanin.torch.probe.ancestry import Ancestors, Fresh
from fanin.torch.probe.pairs import Lazy

Pointwise = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class Signal:
    """Expected moments of a tensor over the random weights before it.

    Attributes:
        mean: E[h], a float64 map that broadcasts to the tensor (size 1 along the units).
        second: E[h²], likewise.
        gaussian: the values are (nearly) Gaussian over the units, so that integrals over N(0, 1) apply.
        fresh: units of a weight, used nowhere before, in which the values are odd: uncorrelated with all that does not
            descend from them; None where there are none.
        ancestors: all draws of weights that the values depend on.
        pairs: E[h·h′] for pairs of positions of a sample, computed when asked for; None where not known.
        behind: the Gaussian signal and the nonlinearity that made this one.
        quantiles: equally likely values of h/√E[h²], where it is not Gaussian but known.
        labels: which unit of the fresh weight stands where, a map of size 1 along positions.
        profile: from labels to the share of these units in E[h²], 1 for all.
    """

    mean: Tensor
    second: Tensor
    gaussian: bool = False
    fresh: Fresh | None = None
    ancestors: Ancestors = field(default_factory=dict[int, int])
    pairs: Lazy | None = None
    behind: tuple[Signal, Pointwise] | None = None
    quantiles: Tensor | None = None
    labels: Tensor | None = None
    profile: Callable[[Tensor], float] | None = None

    @property
    def centred(self) -> bool:
        """Every mean is zero."""
        return not bool(self.mean.any())


@dataclass(eq=False, slots=True)
class Node:
    """One tensor of the forward pass.

    Attributes:
        signal: the expectation, where theory has one.
        channel: the dimension that indexes units, where known.
        born: how many draws of weights had been used when the tensor appeared.
        ancestors: the draws that the tensor depends on.
        why: why there is no expectation.
        boundary: an operation without a backward rule uses the tensor, or it is the output: its gradient is measured.
        selected: that operation picks values by their size, so its gradient depends on them.
        lost: part of the gradient has no expectation, so the whole has none.
        measured: E[g²] map of the measured gradient, at boundaries.
        expected: E[g²] map that theory expects, elsewhere.
    """

    signal: Signal | None
    channel: int | None
    born: int
    ancestors: Ancestors = field(default_factory=dict[int, int])
    why: str = ""
    boundary: bool = False
    selected: bool = False
    lost: bool = False
    measured: Tensor | None = None
    expected: Tensor | None = None

    @property
    def gradient(self) -> Tensor | None:
        """E[g²] to go on with: measured at boundaries, expected elsewhere."""
        return self.measured if self.boundary else self.expected

    @property
    def unknown(self) -> bool:
        """A gradient arrives, but theory cannot say which."""
        return self.lost and not self.boundary

    def receive(self, share: Tensor) -> None:
        """Add the gradient of one consumer; shares through different weights are uncorrelated, so squares add."""
        self.expected = share if self.expected is None else self.expected + share


Pull = Callable[[Sequence[Tensor | None]], Sequence[Tensor | None]]


@dataclass(frozen=True, slots=True)
class Rule:
    """What one operation does: the signals of its outputs, and E[g²] of its inputs from that of its outputs.

    `pull` is None where only the forward half is known; the gradients of the inputs are measured then. `kind` names
    the layer that the operation makes of its module: "weight", "activation", "norm", or "" for none.
    """

    inputs: tuple[Node | None, ...]
    signals: tuple[Signal | None, ...]
    pull: Pull | None
    channel: int | None
    kind: str


@dataclass(frozen=True, slots=True)
class Record:
    """A rule together with the tensors it made."""

    rule: Rule
    outputs: tuple[Node, ...] = field(default=())


def sweep(records: Sequence[Record]) -> None:
    """Fill in `Node.expected` from the last operation to the first: the χ-product, one factor an operation."""
    for record in reversed(records):
        gradients = [node.gradient for node in record.outputs]
        selected = any(node.selected for node in record.outputs)
        chosen = record.rule.kind == "activation" and selected
        _mark(record, selected)
        if record.rule.pull is None:
            continue
        if chosen or any(node.unknown for node in record.outputs):
            _lose(record.rule.inputs)
        elif any(gradient is not None for gradient in gradients):
            for node, share in zip(record.rule.inputs, record.rule.pull(gradients), strict=True):
                _hand(node, share)


def _mark(record: Record, selected: bool) -> None:
    """Gradients that depend on values: of what a nonlinearity sees, and of what is rearranged or added up to that."""
    if record.rule.kind == "activation" or (selected and record.rule.kind != "weight"):
        for node in record.rule.inputs:
            if node is not None:
                node.selected = True


def _lose(nodes: Sequence[Node | None]) -> None:
    for node in nodes:
        _hand(node, None)


def _hand(node: Node | None, share: Tensor | None) -> None:
    if node is None or node.boundary:
        return
    if share is None:
        node.lost = True
    else:
        node.receive(share)


def measure(tensor: Tensor, dim: int | None) -> tuple[Tensor, Tensor]:
    """(E[x], E[x²]) maps of a tensor over `dim`, in float64; over all but the first dimension where it is None."""
    dims = [dim] if dim is not None else list(range(1, tensor.ndim))
    values = tensor.detach()
    norm = torch.linalg.vector_norm(values, dim=dims, keepdim=True, dtype=torch.float64)
    mean = values.mean(dim=dims, keepdim=True, dtype=torch.float64)
    count = values.numel() / max(1, norm.numel())
    return mean, norm**2 / count


def over(map_: Tensor, dim: int) -> Tensor:
    """The map averaged over one dimension, kept with size 1."""
    return map_ if map_.shape[dim] == 1 else map_.mean(dim=dim, keepdim=True)
