"""Feed-forward branches: up, gate and down of an MLP, dense or of experts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fanin.graph.flow import Mask, channels
from fanin.graph.labels import Label
from fanin.graph.network import Network, Trail
from fanin.graph.operations import SOFTMAX
from fanin.graph.residual import Residual


@dataclass(frozen=True, slots=True, eq=False)
class _Source:
    """Channels of a product that reach the next one; `bent` as in `End`."""

    node: int
    channels: Mask
    bent: int


def labels(net: Network, residual: Residual, outputs: frozenset[int]) -> Iterator[Label]:
    """The roles in one residual branch that ends in MLPs.

    Args:
        net: the pass.
        residual: the branch.
        outputs: nodes known as attention outputs, which are none of these.
    """
    stack = [node for node in sorted(residual.lasts) if net.is_linear(node) and node not in outputs]
    downs, seen = frozenset(stack), set(stack)
    while stack:
        node = stack.pop()
        sources = _sources(net, node, residual)
        if sources and node in downs:
            yield Label(node, "mlp down")
        most = max((source.bent for source in sources), default=0)
        gated = any(source.bent < most for source in sources)
        for source in sources:
            yield Label(source.node, "mlp gate" if gated and source.bent == most else "mlp up", source.channels)
            if source.node not in seen:
                seen.add(source.node)
                stack.append(source.node)


def _sources(net: Network, node: int, residual: Residual) -> list[_Source]:
    """The products whose activation `node` takes in; none where something else than elementwise work lies between."""
    trail = Trail()
    for value in net.data(net.flow.nodes[node])[:1]:
        trail = net.back(value, lambda index: _is_end(net, index, residual))
    # Biases of experts are looked up and bring in nothing.
    ends = [end for end in trail.ends if net.ops(end.node) != {"bias"}]
    if any(not net.is_linear(end.node) for end in ends):
        return []
    found: dict[tuple[int, bytes], _Source] = {}
    for end in ends:
        mask = channels(net.flow.nodes[end.node].writes[0], end.look)
        place = (end.node, mask.tobytes())
        bent = max(end.bent, found[place].bent if place in found else 0)
        found[place] = _Source(end.node, mask, bent)
    sources = list(found.values())
    return sources if any(source.bent for source in sources) else []


def _is_end(net: Network, index: int, residual: Residual) -> bool:
    node = net.flow.nodes[index]
    return (
        (index in net.weights and not net.is_depthwise(index))
        or index in net.meetings
        or index not in residual.nodes
        or node.op in SOFTMAX
        or node.op in _MIXING
        or (node.op == "copy" and node.in_place)
    )


_MIXING = frozenset(("cumsum", "_fft_r2c", "_fft_c2c", "_fft_c2r", "topk", "sort"))
