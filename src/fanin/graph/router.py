"""Routers: products whose greatest outputs choose experts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fanin.graph.labels import Label
from fanin.graph.network import Network
from fanin.graph.operations import CHOOSING
from fanin.graph.residual import Residual


def labels(net: Network, residuals: Mapping[int, Residual]) -> Iterator[Label]:
    """Linear layers inside a branch whose outputs, through a softmax or sigmoid or not, a top-k chooses from."""
    inside = frozenset[int]().union(*(residual.nodes for residual in residuals.values()))

    def stop(index: int) -> bool:
        return index in net.weights or index in net.meetings or index in residuals

    for node in net.flow.nodes:
        scores = net.data(node)[:1] if node.op in CHOOSING else []
        ends = {end.node for value in scores for end in net.back(value, stop).ends}
        yield from (Label(end, "router") for end in ends if len(ends) == 1 and end in inside and net.is_linear(end))
