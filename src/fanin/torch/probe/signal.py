"""What theory expects of a tensor: its moments over a layer's units, for each sample and position."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Signal:
    """Expected moments of a tensor over the random weights before it.

    Attributes:
        mean: E[h], a float64 map that broadcasts to the tensor (size 1 along the units).
        second: E[h²], likewise.
        gaussian: the values are (nearly) Gaussian over the units, so that integrals over N(0, 1) apply.
        fresh: the draw of weights, used nowhere before, that makes the values independent of all that does not descend
            from it; None after a nonlinearity.
        ancestors: all draws of weights that the values depend on.
    """

    mean: Tensor
    second: Tensor
    gaussian: bool = False
    fresh: int | None = None
    ancestors: frozenset[int] = frozenset()


@dataclass(eq=False, slots=True)
class Node:
    """One tensor of the forward pass.

    Attributes:
        signal: the expectation, where theory has one.
        channel: the dimension that indexes units, where known.
        born: how many draws of weights had been used when the tensor appeared.
        boundary: an operation without a rule uses the tensor, or it is the output: its gradient is measured.
        measured: E[g²] map of the measured gradient, at boundaries.
        expected: E[g²] map that theory expects, elsewhere.
    """

    signal: Signal | None
    channel: int | None
    born: int
    boundary: bool = False
    measured: Tensor | None = None
    expected: Tensor | None = None

    @property
    def gradient(self) -> Tensor | None:
        """E[g²] to go on with: measured at boundaries, expected elsewhere."""
        return self.measured if self.boundary else self.expected

    def receive(self, share: Tensor) -> None:
        """Add the gradient of one consumer; shares through different weights are uncorrelated, so squares add."""
        self.expected = share if self.expected is None else self.expected + share


Pull = Callable[[Sequence[Tensor | None]], Sequence[Tensor | None]]


@dataclass(frozen=True, slots=True)
class Rule:
    """What one operation does: the signals of its outputs, and E[g²] of its inputs from that of its outputs.

    `kind` names the layer that the operation makes of its module: "weight", "activation", "norm", or "" for none.
    """

    inputs: tuple[Node | None, ...]
    signals: tuple[Signal | None, ...]
    pull: Pull
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
        if all(gradient is None for gradient in gradients):
            continue
        for node, share in zip(record.rule.inputs, record.rule.pull(gradients), strict=True):
            if node is not None and share is not None and not node.boundary:
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
