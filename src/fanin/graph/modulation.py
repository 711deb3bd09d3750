"""Modulation (adaptive norms): a condition's product scales and shifts a normalised signal or gates a branch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fanin.graph.flow import Value
from fanin.graph.labels import Label
from fanin.graph.network import Network
from fanin.graph.operations import CARRYING, NORMS
from fanin.graph.residual import Residual, between


def labels(net: Network, residuals: Mapping[int, Residual]) -> Iterator[Label]:
    """Linear layers whose outputs multiply a normalised signal, no ancestor of theirs, or the end of a branch."""
    gates = {node: residual.stream for residual in residuals.values() for node in residual.behind}
    for index, node in enumerate(net.flow.nodes):
        data = net.data(node)
        if node.op != "mul" or len(data) != 2:
            continue
        for condition, signal in (data, data[::-1]):
            made = net.carried(condition, shifted=True)
            start = gates.get(index) if made is not None else None
            if made is not None and start is None:
                start = _normalised(net, signal)
            if made is not None and start is not None and not between(net, start, condition.memory):
                yield Label(made, "modulation")
                break


def _normalised(net: Network, value: Value) -> int | None:
    """What a norm, with or without its own scale and shift, made `value` of."""
    while (index := net.flow.makers[value.memory]) >= 0:
        node = net.flow.nodes[index]
        data = net.data(node)
        if node.op in NORMS:
            return data[0].memory
        if len(data) == 2 and node.op in ("mul", "div"):
            return next((value.memory for value, root in (data, data[::-1]) if _is_root(net, root)), None)
        if node.op not in CARRYING or len(data) != 1:
            return None
        value = data[0]
    return None


def _is_root(net: Network, value: Value) -> bool:
    maker = net.flow.maker(value)
    return maker is not None and maker.op in ("rsqrt", "sqrt", "pow", "std", "linalg_vector_norm", "norm", "clamp_min")
