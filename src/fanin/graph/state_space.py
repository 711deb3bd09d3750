"""State-space layers: decay rates, time steps and the direct path of a scan."""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Iterator

from fanin.graph.labels import Label
from fanin.graph.network import Network
from fanin.graph.operations import SOFTMAX, WEIGHTED

_POSITIVE = frozenset(("exp", "softplus"))
_NEAR = 16


def labels(net: Network, sums: Container[int]) -> Iterator[Label]:
    """The roles around every exponential decay."""
    for index in net.scales:
        yield from _multiplied(net, index, sums)
    yield from _added(net)


def _multiplied(net: Network, index: int, sums: Container[int]) -> Iterator[Label]:
    """exp(A·softplus(… + time step)) or exp(exp(A)·sigmoid(…)) is a decay; D's product joins the scan's output."""
    decays = _decays(net, index)
    trail = net.back(net.data(net.flow.nodes[index])[0], lambda at: at in net.weights or at in sums)
    steps = {at for at in trail.passed if net.flow.nodes[at].op == "softplus"}
    gated = any(net.flow.nodes[at].op == "sigmoid" for at in trail.passed) and _is_positive(net, index)
    if not decays or not (steps or gated):
        return
    yield Label(index, "state-space A", op="scale")
    # The bias in front of the softplus, in the projection or added behind it.
    before = {end.node for end in trail.ends} | {at for at in trail.passed if at < min(steps)} if steps else set[int]()
    yield from (Label(at, "time step", op="bias") for at in sorted(before))
    module = net.flow.nodes[index].module
    yield from (
        Label(at, "state-space D", op="scale")
        for at in net.scales
        if at != index and net.flow.nodes[at].module == module and _joins(net, at, decays)
    )


def _added(net: Network) -> Iterator[Label]:
    """Decays kept as logarithms: −exp(A) is added in an exponent.

    What else is added in one, in the same module, weights the present step against the state: the direct path.
    """
    nodes = net.flow.nodes
    exponents = [at for at in range(len(nodes)) if _is_exponent(net, at)]
    decays = {at for at in exponents if _is_positive(net, at)}
    modules = {nodes[at].module for at in decays}
    for at in exponents:
        if nodes[at].module in modules:
            role = "state-space A" if at in decays else "state-space D"
            yield from (Label(at, role, op=op) for op in sorted(net.ops(at) - WEIGHTED))


def _is_exponent(net: Network, index: int) -> bool:
    """A parameter is added to a signal in front of an exponential."""
    node = net.flow.nodes[index]
    added = bool(node.uses) and node.op in ("add", "sub", "maximum") and index not in net.weights
    return added and bool(_decays(net, index))


def _is_positive(net: Network, index: int) -> bool:
    """The parameter used at a node went through exp or softplus before it."""
    queue = deque(value for value in net.flow.nodes[index].reads if value.memory not in net.flow.data)
    for _ in range(_NEAR):
        if not queue:
            break
        maker = net.flow.maker(queue.popleft())
        if maker is not None:
            if maker.op in _POSITIVE:
                return True
            queue += maker.reads
    return False


def _decays(net: Network, index: int) -> frozenset[int]:
    """The exponentials that what a node writes goes into, summed up over time or not."""
    ends = SOFTMAX | {"exp"}
    written = net.flow.nodes[index].writes[0].memory
    met = net.ahead(written, lambda at: at in net.weights or at in net.meetings or net.flow.nodes[at].op in ends)
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
