"""Heads: the last products before the model's outputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fanin.graph.labels import Label
from fanin.graph.network import Network
from fanin.graph.operations import NONLINEAR
from fanin.graph.residual import Residual

# What turns logits into probabilities, scales or rates; any other nonlinearity makes features.
_READING = frozenset(("sigmoid", "log_sigmoid_forward", "softplus", "exp", "clamp", "clamp_min", "maximum"))


def labels(net: Network, residuals: Mapping[int, Residual]) -> Iterator[Label]:
    """Linear layers outside of residual branches from which no other product descends."""
    inside = frozenset[int]().union(*(residual.nodes for residual in residuals.values()))
    for index in _lasts(net):
        if index not in inside and net.is_linear(index) and not _is_feature(net, index):
            yield Label(index, "head")


def _lasts(net: Network) -> Iterator[int]:
    """The weights that no later weight reads from, the last one first."""
    goes_on = set[int]()
    for index in range(len(net.flow.nodes) - 1, -1, -1):
        node = net.flow.nodes[index]
        if node.is_view:
            continue
        onward = any(value.memory in goes_on for value in node.writes)
        if index in net.weights and not onward:
            yield index
        if onward or index in net.weights or index in net.meetings:
            goes_on |= {value.memory for value in node.reads}


def _is_feature(net: Network, index: int) -> bool:
    """A nonlinearity such as tanh follows."""
    written = net.flow.nodes[index].writes[0].memory
    bends = NONLINEAR - _READING
    return any(True for _ in net.ahead(written, lambda at: net.flow.nodes[at].op in bends))
