"""State-space layers: decay rates, time steps and the direct path of a selective scan."""

from __future__ import annotations

from collections.abc import Container, Iterator

from fanin.graph.labels import Label
from fanin.graph.network import Network


def labels(net: Network, sums: Container[int]) -> Iterator[Label]:
    """exp(A·softplus(… + time step)) makes a decay; what D multiplies is added to the scan's output."""
    for index in net.scales:
        decays = _decays(net, index)
        trail = net.back(net.data(net.flow.nodes[index])[0], lambda at: at in net.weights or at in sums)
        steps = {at for at in trail.passed if net.flow.nodes[at].op == "softplus"}
        if not decays or not steps:
            continue
        yield Label(index, "state-space A", op="scale")
        # The bias in front of the softplus, in the projection or added behind it.
        before = {end.node for end in trail.ends} | {at for at in trail.passed if at < min(steps)}
        yield from (Label(at, "time step", op="bias") for at in sorted(before))
        module = net.flow.nodes[index].module
        yield from (
            Label(at, "state-space D", op="scale")
            for at in net.scales
            if at != index and net.flow.nodes[at].module == module and _joins(net, at, decays)
        )


def _decays(net: Network, index: int) -> frozenset[int]:
    """The exponentials that the product of a parameter and a signal goes into, summed up over time or not."""
    written = net.flow.nodes[index].writes[0].memory
    met = net.ahead(written, lambda at: at in net.weights or at in net.meetings or net.flow.nodes[at].op == "exp")
    return frozenset(at for at in met if net.flow.nodes[at].op == "exp")


def _joins(net: Network, index: int, decays: frozenset[int]) -> bool:
    """The product is added to something that came through the decays."""
    written = net.flow.nodes[index].writes[0].memory
    for at in net.ahead(written, lambda reader: net.flow.nodes[reader].op == "add"):
        others = [value for value in net.data(net.flow.nodes[at]) if value.memory != written]
        for other in others:
            trail = net.back(other, lambda reader: reader in decays or reader in net.weights or reader == index)
            if any(end.node in decays for end in trail.ends):
                return True
    return False
