"""Residual branches: what is added to an ancestor of its own input."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod

from fanin.graph.flow import Node, Value
from fanin.graph.network import Network
from fanin.graph.operations import ATTENTION, CARRYING, NONLINEAR, NORMS, SOFTMAX, SUMS

_FURTHEST = 24
_MEASURES = frozenset(("pow", "abs", "square", "linalg_vector_norm", "norm"))
# A branch may hold many experts or steps of a scan; a block beside a projection holds a few layers. Without limits
# recurrences written out would take a time quadratic in their steps.
_LONGEST_BRANCH = 20_000
_LONGEST_BLOCK = 400


@dataclass(frozen=True, slots=True)
class Residual:
    """One sum of a residual stream and what is computed from it.

    Attributes:
        sum: the node that adds.
        stream: the memory that is added to: an ancestor of everything in `nodes`.
        branch: the memory that is added.
        nodes: all nodes between the stream and the sum.
        lasts: the last weights before the sum.
        behind: the nodes between the last weights and the sum.
    """

    sum: int
    stream: int
    branch: int
    nodes: frozenset[int]
    lasts: frozenset[int]
    behind: frozenset[int]


@dataclass(frozen=True, slots=True)
class _Stream:
    """A look at a memory that a sum may continue.

    Attributes:
        look: the elements.
        projected: the node of the weight in between (the downsampling shortcut of a ResNet).
    """

    look: Value
    projected: int | None = None

    @property
    def memory(self) -> int:
        return self.look.memory


def residuals(net: Network) -> dict[int, Residual]:
    """Every residual sum of the pass, by its node, in order."""
    found: dict[int, Residual] = {}
    for index, node in enumerate(net.flow.nodes):
        if node.op in SUMS:
            residual = _residual(net, index, found)
            if residual is not None:
                found[index] = residual
    return found


def _residual(net: Network, index: int, known: dict[int, Residual]) -> Residual | None:
    data = net.data(net.flow.nodes[index])[:2]
    if len(data) < 2 or _is_error(net, net.flow.nodes[index]):
        return None
    for skip, branch in (data, data[::-1]):
        for stream in _streams(net, skip, known):
            residual = _from(net, index, stream, branch, known)
            if residual is not None:
                return residual
    return None


def _is_error(net: Network, node: Node) -> bool:
    """A difference that is squared or measured: of a prediction and its target."""
    readers = {net.flow.nodes[reader].op for reader in net.flow.readers[node.writes[0].memory]}
    return node.op == "sub" and bool(readers & _MEASURES)


def _from(net: Network, index: int, stream: _Stream, branch: Value, known: dict[int, Residual]) -> Residual | None:
    longest = _LONGEST_BRANCH if stream.projected is None else _LONGEST_BLOCK
    nodes = between(net, stream.memory, branch.memory, longest)
    if not nodes & net.weights or (
        stream.projected is not None and not _is_block(net, stream, stream.projected, nodes, known)
    ):
        return None
    for strict in (True, False):
        lasts, behind = _ends(net, branch.memory, nodes, known, strict)
        if lasts:
            return Residual(index, stream.memory, branch.memory, nodes, lasts, behind)
    return None


def _streams(net: Network, skip: Value, known: dict[int, Residual]) -> Iterator[_Stream]:
    """The memories that `skip` carries on, the nearest first.

    It may be moved, cast, dropped or scaled by numbers; be the sum that another branch of the same stream has just
    been added to (attention and MLP side by side); or come through one weight and a norm after it.
    """
    yield _Stream(skip)
    look, projected, normed, sums = skip, None, False, 0
    for _ in range(_FURTHEST):
        index = net.flow.makers[look.memory]
        if index < 0:
            return
        node = net.flow.nodes[index]
        data = list({value.memory: value for value in net.data(node)}.values())
        if index in known and projected is None and not (sums or normed):
            look, sums = replace(look, memory=known[index].stream), 1
        elif len(data) != 1:
            return
        elif index in net.weights and projected is None:
            look, projected, normed = data[0], index, False
        elif node.op in NORMS and projected is None:
            look, normed = data[0], True
        elif node.op in CARRYING and not _by_parameter(node):
            look = data[0]
        else:
            return
        if not normed:
            yield _Stream(look, projected)


def _by_parameter(node: Node) -> bool:
    return bool(node.uses) and any(prod(value.shape) > 1 for value in node.reads[1:])


def between(net: Network, start: int, end: int, longest: int = _LONGEST_BRANCH) -> frozenset[int]:
    """All nodes on the ways from one memory to another; none where more than `longest` would have to be looked at."""
    flow = net.flow
    first = flow.makers[start]
    if flow.makers[end] <= first:
        return frozenset()
    before, stack, seen = set[int](), [end], {end}
    while stack:
        index = flow.makers[stack.pop()]
        if index > first:
            if len(before) == longest:
                return frozenset()
            before.add(index)
            new = {value.memory for value in net.data(flow.nodes[index])} - seen
            seen |= new
            stack += new
    if start not in seen:
        return frozenset()
    reached, between = {start}, set[int]()
    for index in sorted(before):
        node = flow.nodes[index]
        if any(value.memory in reached for value in node.reads):
            between.add(index)
            reached |= {value.memory for value in node.writes}
    return frozenset(between)


def _is_block(
    net: Network, stream: _Stream, projection: int, nodes: frozenset[int], known: dict[int, Residual]
) -> bool:
    """One block with a nonlinearity inside, so that it is the branch and the projection beside it the shortcut.

    Beside a linear layer the branch must read nothing else; otherwise gated sums of two signals would count.
    """
    flow, start = net.flow, stream.look
    bent = any(flow.nodes[index].op in NONLINEAR for index in nodes)
    if not bent or nodes & known.keys() or projection in nodes:
        return False
    reads = [value for index in nodes for value in net.data(flow.nodes[index])]
    if not any(value.memory == start.memory and _size(value) == _size(start) for value in reads):
        return False
    inside = {value.memory for index in nodes for value in flow.nodes[index].writes} | {start.memory}
    return flow.nodes[projection].op == "convolution" or all(value.memory in inside for value in reads)


def _size(value: Value) -> tuple[int, int]:
    """Equal for looks at the same elements, as far as views of one signal go."""
    return value.offset, prod(value.shape)


def _ends(
    net: Network, branch: int, nodes: frozenset[int], known: dict[int, Residual], strict: bool
) -> tuple[frozenset[int], frozenset[int]]:
    """The last weights of a branch and the nodes behind them; strictly: with no nonlinearity among these."""
    lasts, behind, stack, seen = set[int](), set[int](), [branch], {branch}
    while stack:
        index = net.flow.makers[stack.pop()]
        if index not in nodes or index in known:
            continue
        node = net.flow.nodes[index]
        if index in net.weights:
            lasts.add(index)
            continue
        if strict and (node.op in NONLINEAR or node.op in SOFTMAX):
            continue
        if index in net.meetings and node.op != ATTENTION and not _is_average(net, node):
            continue
        behind.add(index)
        reads = node.reads[2:3] if node.op == ATTENTION else node.reads
        new = {value.memory for value in reads} - seen
        seen |= new
        stack += new
    return frozenset(lasts), frozenset(behind)


def _is_average(net: Network, node: Node) -> bool:
    """A product of probabilities and values; products of two signals are scores, which no branch ends in."""

    def stop(index: int) -> bool:
        return index in net.weights or index in net.meetings or net.flow.nodes[index].op in SOFTMAX

    ends = (end for value in net.data(node) for end in net.back(value, stop).ends)
    return any(net.flow.nodes[end.node].op in SOFTMAX for end in ends)
