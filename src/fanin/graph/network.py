"""The dataflow of a pass together with the uses of parameters made in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from fanin.graph.flow import Flow, Mask, Node, Value, channels
from fanin.graph.looks import sources
from fanin.graph.operations import ATTENTION, CARRYING, LIMITS, NONLINEAR, PRODUCTS, WEIGHTED
from fanin.graph.records import Use


@dataclass(frozen=True, slots=True)
class End:
    """Where a walk against the flow ended.

    Attributes:
        node: the node.
        look: the elements of its output that the walk came to.
        bent: what lay between: 0 for no nonlinearity, 1 for limits (clamps), 2 for another one.
    """

    node: int
    look: Value
    bent: int


@dataclass(slots=True)
class Trail:
    """A walk against the flow: where it ended, and what it passed."""

    ends: list[End] = field(default_factory=list[End])
    passed: set[int] = field(default_factory=set[int])


class Network:
    """Questions that several readers of structure ask about one pass."""

    def __init__(self, flow: Flow, uses: Sequence[Use]) -> None:
        self.flow = flow
        self.uses = uses

    def at(self, node: int) -> list[Use]:
        """The uses of parameters made at a node."""
        return [self.uses[number] for number in self.flow.nodes[node].uses]

    def ops(self, node: int) -> set[str]:
        """What kinds of use are made at a node."""
        return {use.op for use in self.at(node)}

    def weighing(self, node: int) -> tuple[int, ...]:
        """The numbers of the uses at a node; where two parameters are multiplied, without those of the left one."""
        numbers = self.flow.nodes[node].uses
        weights = [number for number in numbers if self.uses[number].op in WEIGHTED]
        tensors = dict.fromkeys(self.uses[number].tensor for number in weights)
        if self.data(self.flow.nodes[node]) or len(tensors) < 2:
            return numbers
        left = next(iter(tensors))
        return tuple(number for number in numbers if self.uses[number].tensor != left)

    @cached_property
    def weights(self) -> frozenset[int]:
        """The nodes where a weight meets data."""
        nodes = self.flow.nodes
        return frozenset(
            index for index, node in enumerate(nodes) if node.uses and self.made(node) and self.ops(index) & WEIGHTED
        )

    @cached_property
    def meetings(self) -> frozenset[int]:
        """The nodes where data is multiplied with data as matrices: scores, sums over values, scans."""
        return frozenset(
            index
            for index, node in enumerate(self.flow.nodes)
            if index not in self.weights and (node.op in PRODUCTS or node.op == ATTENTION) and self.made(node)
        )

    def made(self, node: Node) -> bool:
        """The node writes something that depends on the model's inputs."""
        return any(value.memory in self.flow.data for value in node.writes)

    def data(self, node: Node) -> list[Value]:
        """What a node reads that depends on the model's inputs."""
        return [value for value in node.reads if value.memory in self.flow.data]

    @cached_property
    def lookups(self) -> frozenset[int]:
        """The nodes where rows of a table are looked up."""
        return frozenset(
            index for index, node in enumerate(self.flow.nodes) if node.uses and "embedding" in self.ops(index)
        )

    @cached_property
    def scales(self) -> tuple[int, ...]:
        """The nodes where a parameter multiplies data elementwise."""
        nodes = enumerate(self.flow.nodes)
        return tuple(index for index, node in nodes if node.uses and self.data(node) and "scale" in self.ops(index))

    def is_linear(self, node: int) -> bool:
        """A matrix product with a parameter, no convolution."""
        return node in self.weights and "linear" in self.ops(node)

    def made_by(self, value: Value, stops: Callable[[int], bool]) -> dict[int, Mask]:
        """The nodes where a walk against the flow from `value` ends, with the channels of their output that it met."""
        found: dict[int, Mask] = {}
        for end in self.back(value, stops).ends:
            mask = channels(self.flow.nodes[end.node].writes[0], end.look)
            found[end.node] = found[end.node] | mask if end.node in found else mask
        return found

    def is_depthwise(self, node: int) -> bool:
        """A convolution of each channel for itself."""
        axes = [use.axes for use in self.at(node) if use.op == "conv" and use.axes is not None]
        return bool(axes) and all(1 < each.groups == each.shape[0] for each in axes)

    def ahead(self, memory: int, stops: Callable[[int], bool], longest: int = 100) -> Iterator[int]:
        """The nodes where `stops` holds that a walk along the flow from `memory` meets first."""
        stack, seen, met = [memory], {memory}, set[int]()
        while stack and len(seen) < longest:
            for index in self.flow.readers[stack.pop()]:
                if index in met:
                    continue
                met.add(index)
                if stops(index):
                    yield index
                    continue
                new = {value.memory for value in self.flow.nodes[index].writes} - seen
                seen |= new
                stack += new

    def root(self, value: Value, *, shifted: bool = False) -> int:
        """The memory that a value was only moved, dropped or scaled from; where `shifted`, parameters may be added."""
        memory = value.memory
        while (index := self.flow.makers[memory]) >= 0:
            node = self.flow.nodes[index]
            data = self.data(node)
            if index in self.weights or node.op not in CARRYING or len(data) != 1:
                break
            if node.uses and not (shifted and node.op == "add"):
                break
            memory = data[0].memory
        return memory

    def carried(self, value: Value, *, shifted: bool = False) -> int | None:
        """The linear layer that a value comes from, if it was only moved, dropped or scaled since."""
        index = self.flow.makers[self.root(value, shifted=shifted)]
        return index if index >= 0 and self.is_linear(index) else None

    def back(self, value: Value, stops: Callable[[int], bool], longest: int = 400) -> Trail:
        """Walk against the flow from `value`, along what depends on inputs, to the nodes where `stops` holds."""
        trail, seen = Trail(), {(value, 0)}
        queue = [(value, 0)]
        while queue and len(seen) < longest:
            look, bent = queue.pop()
            index = self.flow.makers[look.memory]
            if index < 0:
                continue
            node = self.flow.nodes[index]
            if stops(index):
                trail.ends.append(End(index, look, bent))
                continue
            trail.passed.add(index)
            for number, source in enumerate(sources(node, look)):
                # A gated linear unit bends its second half alone.
                step = source, max(bent, 2 * number if node.op == "glu" else _bends(node))
                if source.memory in self.flow.data and step not in seen:
                    seen.add(step)
                    queue.append(step)
        return trail


def _bends(node: Node) -> int:
    if node.op in LIMITS:
        return 1
    return 2 if node.op in NONLINEAR else 0
