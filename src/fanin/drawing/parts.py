"""The boxes of a drawing and the lines between them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from torch import nn

from fanin.drawing.passing import Seen, Shape
from fanin.graph.flow import Node, Value
from fanin.graph.operations import ATTENTION, NONLINEAR, NORMS, PRODUCTS, SOFTMAX, SUMS

INPUT, OUTPUT = "input", "output"
_JOINS = {"cat": "concat", "stack": "stack"} | dict.fromkeys(("mul", "addcmul"), "×")
_WHOLE = (nn.MultiheadAttention, nn.RNNBase, nn.RNNCellBase)


@dataclass(frozen=True, slots=True)
class Unit:
    """A box: a layer, or an operation between layers.

    Attributes:
        module: the layer; for an operation the module whose own code does it.
        op: the operation; "" for a layer.
        number: how many operations of this kind that module did before.
    """

    module: str
    op: str = ""
    number: int = 0


@dataclass(slots=True)
class Parts:
    """Boxes in the order of the pass, with the shape that comes out of each, and lines between them."""

    shapes: dict[Unit, Shape | None] = field(default_factory=dict[Unit, "Shape | None"])
    lines: dict[tuple[Unit, Unit], None] = field(default_factory=dict[tuple[Unit, Unit], None])


def parts(model: nn.Module, seen: Seen, depth: int | None) -> Parts:
    """The boxes of a pass.

    Args:
        depth: how many names deep layers are told apart; None for all.
    """
    return _Reading(model, seen, depth).parts


class _Reading:
    def __init__(self, model: nn.Module, seen: Seen, depth: int | None) -> None:
        self.parts = Parts()
        self._flow = seen.flow
        self._seen = seen
        self._boxes = {name: _box(model, name, depth) for name, _ in model.named_modules()}
        self._at: dict[Value, frozenset[Unit]] = {}
        self._in: dict[int, frozenset[Unit]] = {}
        self._count: dict[tuple[str, str], int] = {}
        self.parts.shapes[Unit("", INPUT)] = seen.given
        *steps, returned = seen.flow.nodes
        for index, node in enumerate(steps):
            self._step(index, node)
        self._end(returned.reads)

    def _step(self, index: int, node: Node) -> None:
        flow = self._flow
        if not any(value.memory in flow.data for value in node.writes):
            return
        data = [value for value in node.reads if value.memory in flow.data]
        sources = frozenset[Unit]().union(*map(self._sources, data))
        if index in flow.chosen:
            sources |= {Unit("", INPUT)}
        box = self._boxes.get(node.module)
        word = _word(node, len({value.memory for value in data}), bool(sources))
        if box is not None:
            unit = Unit(box)
        elif word:
            number = self._count.get((node.module, word), 0)
            self._count[node.module, word] = number + 1
            unit = Unit(node.module, word, number)
        else:
            self._pass_on(node, sources)
            return
        self.parts.shapes[unit] = self._seen.shapes.get(unit.module) if box is not None else node.writes[0].shape
        for source in sorted(sources, key=_order):
            if source != unit:
                self.parts.lines[source, unit] = None
        self._pass_on(node, frozenset((unit,)))

    def _sources(self, value: Value) -> frozenset[Unit]:
        if value in self._at:
            return self._at[value]
        if value.memory in self._in:
            return self._in[value.memory]
        return frozenset((Unit("", INPUT),)) if self._flow.makers[value.memory] < 0 else frozenset()

    def _pass_on(self, node: Node, units: frozenset[Unit]) -> None:
        for value in node.writes:
            self._at[value] = units
            if not node.is_view:
                self._in[value.memory] = units

    def _end(self, returned: Sequence[Value]) -> None:
        end = Unit("", OUTPUT)
        self.parts.shapes[end] = self._seen.result
        sources = frozenset[Unit]().union(*map(self._sources, self._signals(returned)))
        if self._seen.echoes:
            sources |= {Unit("", INPUT)}
        for source in sorted(sources, key=_order):
            self.parts.lines[source, end] = None

    def _signals(self, values: Sequence[Value]) -> Iterator[Value]:
        """The signals among `values`, and those that the indices and masks among them were computed from."""
        waiting, met = [*values], set[int]()
        while waiting:
            value = waiting.pop()
            maker = self._flow.maker(value)
            if value.memory in self._flow.data:
                yield value
            elif maker is not None and value.memory not in met:
                met.add(value.memory)
                waiting += maker.reads


def _order(unit: Unit) -> tuple[str, str, int]:
    return unit.module, unit.op, unit.number


def _box(model: nn.Module, name: str, depth: int | None) -> str | None:
    """The box that the code of a module belongs to; None where each of its operations is a box of its own."""
    path = name.split(".") if name else []
    for length in range(1, len(path) + 1):
        outer = ".".join(path[:length])
        if depth == length or isinstance(model.get_submodule(outer), _WHOLE):
            return outer
    module = model.get_submodule(name)
    return name if name and not any(True for _ in module.children()) else None


def _word(node: Node, read: int, has_source: bool) -> str:
    """What an operation outside of layers is called; "" for one that is not drawn."""
    op = node.op
    if node.is_view:
        return ""
    if read > 1 and op in SUMS:
        return "−" if op == "sub" else "+"
    if read > 1 and op in _JOINS:
        return _JOINS[op]
    if op == ATTENTION:
        return "attention"
    if op in PRODUCTS:
        return "convolution" if op == "convolution" else "product"
    if op in SOFTMAX:
        return "softmax"
    if op in NONLINEAR or op in NORMS or op in ("mean", "embedding"):
        return op.strip("_")
    return "parameter" if not has_source else ""
