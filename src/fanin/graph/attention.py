"""Attention: which products make queries, keys and values, and which takes the heads' outputs."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass

from fanin.graph.flow import Node, Value
from fanin.graph.labels import Label
from fanin.graph.network import Network, Trail
from fanin.graph.operations import ATTENTION, SOFTMAX


@dataclass(frozen=True, slots=True)
class Core:
    """softmax(QKᵀ)V.

    Attributes:
        node: the node that sums over values.
        query, key, value: its operands; the last dimension of each is one head's.
        heads: how many there are, where the operation tells.
        tables: where parameters are added to the scores: the node and the kind of use.
    """

    node: int
    query: Value
    key: Value
    value: Value
    heads: int | None
    tables: tuple[tuple[int, str], ...] = ()


def cores(net: Network, sums: Container[int]) -> Iterator[Core]:
    """Every attention of the pass, fused or composed of products and a softmax."""
    for index in sorted(net.meetings):
        node = net.flow.nodes[index]
        if node.op == ATTENTION:
            query, key, value = node.reads[:3]
            heads = query.shape[-3] if len(query.shape) > 3 else None
            tables = [table for mask in node.reads[3:] for table in _tables(net, net.back(mask, _stops(net, sums)))]
            yield Core(index, query, key, value, heads, ((index, ATTENTION), *tables))
        elif len(net.data(node)) == 2:
            yield from _composed(net, index, sums)


def labels(net: Network, core: Core, sums: Container[int]) -> Iterator[Label]:
    """The roles that one attention gives to weights and tables around it."""
    queries = list(_made(net, core.query, "attention query", core.heads, sums))
    heads = core.heads or next((label.heads for label in queries), None)
    yield from queries
    yield from _made(net, core.key, "attention key", None, sums)
    yield from _made(net, core.value, "attention value", None, sums)
    written = net.flow.nodes[core.node].writes[0].memory
    for index in net.ahead(written, _stops(net, sums)):
        if net.is_linear(index):
            yield Label(index, "attention output", heads=heads)
    yield from (Label(table, "relative position", op=op) for table, op in core.tables)


def _made(net: Network, operand: Value, role: str, heads: int | None, sums: Container[int]) -> Iterator[Label]:
    """The linear layers that make an operand of attention; its last dimension is one head's."""
    for node, mask in net.made_by(operand, _stops(net, sums)).items():
        if net.is_linear(node):
            split, spare = divmod(int(mask.sum()), operand.shape[-1])
            yield Label(node, role, mask, heads or (None if spare else split))


def _stops(net: Network, sums: Container[int]) -> Callable[[int], bool]:
    return lambda index: index in net.weights or index in net.meetings or index in sums or index in net.lookups


def _tables(net: Network, trail: Trail) -> Iterator[tuple[int, str]]:
    yield from ((end.node, "embedding") for end in trail.ends if end.node in net.lookups)
    yield from ((node, "position") for node in sorted(trail.passed) if "position" in net.ops(node))


def _composed(net: Network, index: int, sums: Container[int]) -> Iterator[Core]:
    """The product `index` as softmax(scores)·V, if one of its factors comes from a softmax over products."""
    nodes, stops = net.flow.nodes, _stops(net, sums)
    factors = net.data(nodes[index])
    for probabilities, values in ((factors[0], _turned(factors[1])), (factors[1], factors[0])):
        trail = net.back(probabilities, lambda at: stops(at) or nodes[at].op in SOFTMAX)
        softmaxes = dict.fromkeys(end.node for end in trail.ends)
        if not softmaxes or any(nodes[each].op not in SOFTMAX for each in softmaxes):
            continue
        for softmax in softmaxes:
            yield from _core(net, index, _turned(values), softmax, sums)
        return


def _core(net: Network, index: int, values: Value, softmax: int, sums: Container[int]) -> Iterator[Core]:
    nodes, stops = net.flow.nodes, _stops(net, sums)
    trail = net.back(nodes[softmax].reads[0], stops)
    tables = [*_tables(net, trail)]
    products = {end.node: end.look for end in trail.ends if end.node in net.meetings}
    for scores, look in products.items():
        left, right = net.data(nodes[scores])[:2]
        # The softmax runs over keys; these are the last dimension of the scores unless K was the left factor.
        transposed = _runs_over_rows(nodes[softmax], look, nodes[scores].writes[0])
        query, key = (_turned(right), left) if transposed else (left, _turned(right))
        # Rows of a table that queries are multiplied with, too.
        tables += ((end.node, "embedding") for end in net.back(key, stops).ends if end.node in net.lookups)
        yield Core(index, query, key, values, None, tuple(tables))


def _turned(value: Value) -> Value:
    """The last two dimensions swapped."""
    if len(value.shape) < 2:
        return value
    (*shape, rows, columns), (*strides, down, right) = value.shape, value.strides
    return Value(value.memory, (*shape, columns, rows), (*strides, right, down), value.offset)


def _runs_over_rows(softmax: Node, look: Value, written: Value) -> bool:
    """The softmax works along the rows of the scores, of which it sees `look`."""
    rank = len(softmax.reads[0].shape)
    if softmax.axis is None or len(look.shape) != rank or len(written.shape) < 2:
        return False
    return look.strides[softmax.axis] == written.strides[-2] != written.strides[-1]
