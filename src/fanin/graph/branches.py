"""Residual branches as recipes count them: one sum may end several."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import prod

from fanin.graph.network import Network
from fanin.graph.residual import Residual


@dataclass(frozen=True, slots=True)
class Branch:
    """One residual branch.

    Attributes:
        sum: the node that adds it to the stream.
        nodes: all its nodes.
        lasts: its last weights.
        behind: the nodes between these and the sum.
        members: how many weights follow one another in it.
        width: size of the stream.
    """

    sum: int
    nodes: frozenset[int]
    lasts: frozenset[int]
    behind: frozenset[int]
    members: int
    width: int


def branches(net: Network, residuals: Mapping[int, Residual], cores: Iterable[int]) -> Iterator[Branch]:
    """The branches of every residual sum in order.

    Attention and MLP side by side in one sum are two branches; experts, shared or routed, are one.

    Args:
        net: the pass.
        residuals: its residual sums.
        cores: the nodes where attention sums over values.
    """
    attentions = frozenset(cores)
    for residual in residuals.values():
        cones = {last: _cone(net, [last], residual.nodes) for last in sorted(residual.lasts)}
        attending = [[last] for last, cone in cones.items() if cone & attentions]
        others = [last for last, cone in cones.items() if not cone & attentions]
        groups = [*attending, others] if others else attending
        for lasts in sorted(groups, key=min):
            nodes = residual.nodes if len(groups) == 1 else frozenset[int]().union(*(cones[last] for last in lasts))
            members = max(_longest(net, nodes, last) for last in lasts)
            widths = (_width(net, last) for last in lasts)
            yield Branch(residual.sum, nodes, frozenset(lasts), residual.behind, members, max(widths))


def feeding(net: Network, branch: Branch, stops: Container[int], inside: Callable[[str], bool]) -> frozenset[int]:
    """Nodes beside the stream that a branch reads from, as keys and values of another stack, where `inside` holds."""
    found, stack = set[int](), [value.memory for node in branch.nodes for value in net.data(net.flow.nodes[node])]
    while stack:
        index = net.flow.makers[stack.pop()]
        if index < 0 or index in branch.nodes or index in found or index in stops:
            continue
        if inside(net.flow.nodes[index].module):
            found.add(index)
            stack += [value.memory for value in net.data(net.flow.nodes[index])]
    return frozenset(found)


def _cone(net: Network, ends: Iterable[int], nodes: frozenset[int]) -> frozenset[int]:
    """The nodes among `nodes` that `ends` depend on, and these."""
    found, stack = set(ends), list(ends)
    while stack:
        for value in net.data(net.flow.nodes[stack.pop()]):
            maker = net.flow.makers[value.memory]
            if maker in nodes and maker not in found:
                found.add(maker)
                stack.append(maker)
    return frozenset(found)


def _longest(net: Network, nodes: frozenset[int], last: int) -> int:
    """The most weights on one way to `last`."""
    depth: dict[int, int] = {}
    for index in sorted(nodes):
        node = net.flow.nodes[index]
        before = max((depth.get(net.flow.makers[value.memory], 0) for value in net.data(node)), default=0)
        depth[index] = before + (index in net.weights)
        if index == last:
            break
    return depth[last]


def _width(net: Network, last: int) -> int:
    axes = [use.axes for use in net.at(last) if use.axes is not None]
    return max((prod(each.shape[axis] for axis in each.outputs) for each in axes), default=0)
