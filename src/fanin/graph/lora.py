"""Low-rank adapters: two products in a row, added to another product of the same input."""

from __future__ import annotations

from collections.abc import Iterator

from fanin.graph.flow import Value
from fanin.graph.labels import Label
from fanin.graph.network import Network

_SAME = frozenset(("_to_copy", "clone", "_unsafe_view", "alias", "detach", "native_dropout"))


def labels(net: Network) -> Iterator[Label]:
    """The factors A (first) and B of every sum W·x + s·B·A·x whose inner size is below both outer ones."""
    for node in net.flow.nodes:
        data = net.data(node) if node.op == "add" else []
        if len(data) != 2:
            continue
        for adapter, base in (data, data[::-1]):
            second, first = _product(net, adapter), _product(net, base)
            if second is None or first is None:
                continue
            inner = _product(net, net.data(net.flow.nodes[second])[0])
            if inner is not None and _is_low_rank(net, inner, second) and _same_input(net, inner, first):
                yield Label(inner, "lora A")
                yield Label(second, "lora B")


def _product(net: Network, value: Value) -> int | None:
    """The one product with a weight that `value` is, up to a factor and its place in memory."""
    ends = net.back(value, lambda node: node in net.weights or len(net.data(net.flow.nodes[node])) > 1, longest=16).ends
    if len(ends) != 1 or ends[0].bent or ends[0].node not in net.weights:
        return None
    # A product with constants has no input to compare.
    return ends[0].node if net.data(net.flow.nodes[ends[0].node]) else None


def _is_low_rank(net: Network, inner: int, outer: int) -> bool:
    first, second = (next((use.axes for use in net.at(node) if use.axes is not None), None) for node in (inner, outer))
    if first is None or second is None:
        return False
    return first.fan_out < first.fan_in and second.fan_in < second.fan_out


def _same_input(net: Network, one: int, other: int) -> bool:
    return _memory(net, one) == _memory(net, other)


def _memory(net: Network, node: int) -> int:
    """The memory that a product reads, before casts and dropout."""
    memory = net.data(net.flow.nodes[node])[0].memory
    for _ in range(8):
        maker = net.flow.makers[memory]
        if maker < 0 or net.flow.nodes[maker].op not in _SAME:
            break
        memory = net.data(net.flow.nodes[maker])[0].memory
    return memory
