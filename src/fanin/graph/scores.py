"""How wide attention's scores are for queries and keys of variance 1."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import replace
from math import prod, sqrt

from fanin.graph.attention import Core
from fanin.graph.network import Network
from fanin.graph.operations import ATTENTION, NORMS, PRODUCTS, SOFTMAX
from fanin.graph.records import Use

_FURTHEST = 100


def with_scores(net: Network, uses: Sequence[Use], cores: Iterable[Core], sums: Container[int]) -> list[Use]:
    """`uses` in which those of queries know how wide the scores get.

    A score is a sum over d_head products; whatever number it, the query or the key is multiplied by counts too.

    Args:
        net: the pass.
        uses: its uses with their roles.
        cores: its attentions.
        sums: its residual sums.
    """
    told = list(uses)
    for core in cores:
        width, queries = _scores(net, core, sums)
        for node in queries:
            for number in net.weighing(node):
                if told[number].role == "attention query":
                    told[number] = replace(told[number], scores=width)
    return told


def _scores(net: Network, core: Core, sums: Container[int]) -> tuple[float, set[int]]:
    """The width of the scores, 0 where a norm sets it, and the nodes of weights that make the queries."""

    def stops(index: int) -> bool:
        return index in net.weights or index in net.meetings or index in sums or index in net.lookups

    trails = [net.back(operand, stops) for operand in (core.query, core.key)]
    factors = [_factor(net, index) for trail in trails for index in trail.passed]
    width = sqrt(core.query.shape[-1]) * prod(factors) * _behind(net, core, sums)
    made = {end.node for end in trails[0].ends}
    queries = {node for node in made if node in net.weights}
    normed = any(net.flow.nodes[index].op in (*NORMS, "rsqrt") for trail in trails for index in trail.passed)
    return (0.0 if normed or queries != made else float(f"{abs(width):.9g}")), queries


def _behind(net: Network, core: Core, sums: Container[int]) -> float:
    """The number that scores are multiplied by between their product and the softmax."""
    node = net.flow.nodes[core.node]
    if node.op == ATTENTION:
        return _factor(net, core.node)
    found = (_on_the_way(net, value.memory, frozenset(SOFTMAX), net.weights, sums) for value in net.data(node))
    softmax = next((index for index, _ in filter(None, found)), None)
    if softmax is None:
        return 1.0
    way = _on_the_way(net, net.flow.nodes[softmax].reads[0].memory, PRODUCTS, net.weights, sums)
    return 1.0 if way is None else way[1]


def _on_the_way(
    net: Network, memory: int, wanted: Container[str], *stops: Container[int], seen: set[int] | None = None
) -> tuple[int, float] | None:
    """The nearest node before `memory` that does what is `wanted`, and by what number its result was multiplied."""
    seen = set[int]() if seen is None else seen
    index = net.flow.makers[memory]
    if index < 0 or index in seen or len(seen) > _FURTHEST or any(index in each for each in stops):
        return None
    seen.add(index)
    node = net.flow.nodes[index]
    if node.op in wanted:
        return index, 1.0
    for value in net.data(node):
        found = _on_the_way(net, value.memory, wanted, *stops, seen=seen)
        if found is not None:
            return found[0], found[1] * _factor(net, index)
    return None


def _factor(net: Network, index: int) -> float:
    factor = net.flow.nodes[index].factor
    return 1.0 if factor is None else factor
