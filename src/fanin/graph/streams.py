"""What a residual stream starts as, and where norms stand on it."""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from fanin.graph.network import Network
from fanin.graph.operations import CARRYING, NORMS
from fanin.graph.residual import Residual

_FURTHEST = 60
_MEASURING = frozenset(("rsqrt", "var_mean", "var", "sqrt", "linalg_vector_norm"))  # norms that are composed


@dataclass(frozen=True, slots=True)
class Stream:
    """How many signals of each kind are summed where a stream starts; a signal times c counts c².

    Attributes:
        tables: looked up.
        positions: added parameters, and rows looked up for positions.
        others: outputs of weights and norms, and what was not followed any further.
    """

    tables: float = 0.0
    positions: float = 0.0
    others: float = 0.0

    def __add__(self, other: Stream) -> Stream:
        return Stream(self.tables + other.tables, self.positions + other.positions, self.others + other.others)

    def times(self, factor: float) -> Stream:
        """The same signals, each multiplied by `factor`.

        >>> Stream(tables=2.0).times(3.0)
        Stream(tables=18.0, positions=0.0, others=0.0)
        """
        return Stream(*(part * factor**2 for part in (self.tables, self.positions, self.others)))


def start(net: Network, memory: int, positional: Container[int], furthest: int = _FURTHEST) -> Stream:
    """What the stream is made of at this memory.

    Args:
        net: the pass.
        memory: of the stream before its first sum.
        positional: the nodes that look up rows for positions.
        furthest: how many operations to walk back at most.
    """
    index = net.flow.makers[memory]
    if index < 0 or not furthest:
        return Stream(others=1.0)
    node = net.flow.nodes[index]
    if index in net.lookups:
        return Stream(positions=1.0) if index in positional else Stream(tables=1.0)
    if index in net.weights or node.op in NORMS or node.op not in CARRYING:
        return Stream(others=1.0)
    data = list(dict.fromkeys(value.memory for value in net.data(node)))
    if node.op != "add":
        carried = start(net, data[0], positional, furthest - 1) if len(data) == 1 else Stream(others=1.0)
        return carried.times(abs(node.factor)) if node.factor is not None else carried
    summed = [start(net, each, positional, furthest - 1) for each in data]
    return sum(summed, Stream(positions=float("position" in net.ops(index))))


def sums_of_positions(net: Network, positional: Collection[int]) -> dict[str, Stream]:
    """For each tensor of positions what the first sum is made of that it is added in."""
    nodes = net.flow.nodes
    adds = {index: node.writes[0].memory for index, node in enumerate(nodes) if node.op == "add" and node.writes}
    found: dict[str, Stream] = {}
    for index in positional:
        made = next(net.ahead(nodes[index].writes[0].memory, adds.__contains__), None)
        if made is not None:
            found |= {use.tensor: start(net, adds[made], positional) for use in net.at(index)}
    for index, memory in adds.items():
        found |= {use.tensor: start(net, memory, positional) for use in net.at(index) if use.op == "position"}
    return found


def norms(net: Network, residuals: Mapping[int, Residual], sums: Sequence[int]) -> dict[int, str]:
    """For each sum of one stream, in order, where a norm stands: "before" its branch, "after" the sum, or ""."""
    after = {before for before, later in pairwise(sums) if _renewed(net, residuals[later].stream)}
    # The last sum has none behind it to tell.
    after |= {sums[-1]} if len(sums) > 1 and sums[-2] in after else set()
    return {
        index: "after" if index in after else "before" if _reads_a_norm(net, residuals[index]) else ""
        for index in dict.fromkeys(sums)
    }


def _renewed(net: Network, memory: int) -> bool:
    """The stream has just come through a norm."""
    for _ in range(_FURTHEST):
        index = net.flow.makers[memory]
        if index < 0 or index in net.weights:
            return False
        node = net.flow.nodes[index]
        if node.op in NORMS:
            return True
        data = {value.memory for value in net.data(node)}
        if node.op not in CARRYING or len(data) != 1:
            # Composed norms end in a product of a signal and a statistic of itself.
            return node.op in ("mul", "div") and any(_measures(net, each) for each in data)
        memory = data.pop()
    return False


def _measures(net: Network, memory: int) -> bool:
    index = net.flow.makers[memory]
    return index >= 0 and net.flow.nodes[index].op in _MEASURING


def _reads_a_norm(net: Network, residual: Residual) -> bool:
    """A norm stands between the stream and the first weight of the branch."""

    def is_met(index: int) -> bool:
        op = net.flow.nodes[index].op
        return index not in residual.nodes or index in net.weights or op in NORMS or op in _MEASURING

    met = [index for index in net.ahead(residual.stream, is_met) if index in residual.nodes]
    return any(index not in net.weights for index in met)
