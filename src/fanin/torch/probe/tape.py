"""Follow the tensors of one forward pass, operation by operation, with what theory expects of them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle
from torch.utils.weak import WeakTensorKeyDictionary

from fanin.torch.probe.ancestry import ALL, Ancestors, before, merged
from fanin.torch.probe.batch import tensors_in
from fanin.torch.probe.laws import Laws
from fanin.torch.probe.moments import Moments, moments
from fanin.torch.probe.pairs import Lazy, gram
from fanin.torch.probe.signal import Node, Record, Rule, Signal, measure


@dataclass(frozen=True, slots=True)
class WeightUse:
    """One matrix or convolution of the pass: which parameters, and which dimension of the weight indexes units."""

    weight: str
    bias: str | None
    unit_dim: int
    module: str


@dataclass(frozen=True, slots=True)
class Call:
    """A torch function that the model calls."""

    name: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


Handler = Callable[["Tape", tuple[Any, ...], dict[str, Any]], Rule | str]
"""From the arguments of a function to its rule, or to the reason why it has none here."""

# Gradients of what these see depend on its values.
_SELECTS = ("max_pool", "adaptive_max_pool", "max", "amax", "topk", "sort", "where")


class Tape(TorchFunctionMode):
    """Sees every torch function that the model calls.

    A function with a rule gives its outputs an expected signal; any other one makes them unknown, and the
    gradients of its inputs are measured, so that nothing is ever predicted through what is not understood.
    """

    def __init__(
        self, parameters: Iterable[tuple[str, nn.Parameter]], laws: Laws, handlers: Mapping[str, Handler]
    ) -> None:
        super().__init__()
        self.names = {id(parameter): name for name, parameter in parameters}
        self.laws = laws
        self.handlers = handlers
        self.records: list[Record] = []
        self.uses: list[WeightUse] = []
        self.stack: list[str] = []
        self.kinds: dict[str, str] = {}
        self.handles: list[RemovableHandle] = []
        self.paused = 0
        self.draws = 0
        self.values: dict[str, Moments] = {}
        self.on_call: Callable[[Call], None] = lambda _call: None
        self.on_output: Callable[[Call, Rule | None, Tensor], None] = lambda _call, _rule, _out: None
        self._nodes = WeakTensorKeyDictionary()
        self._drawn: dict[str, int] = {}
        self._tables: set[str] = set()

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self.paused:
            return func(*args, **kwargs)
        name = getattr(func, "__name__", "")
        found = self._rule(name, args, kwargs)
        rule = found if isinstance(found, Rule) else None
        unbound = rule is None or rule.pull is None
        in_place = _in_place(name, kwargs)
        if unbound and in_place:
            self._bound(args, kwargs, name)
        call = Call(name, func, args, kwargs)
        self.on_call(call)
        out = func(*args, **kwargs)
        made = [tensor for tensor in tensors_in(out) if tensor.is_floating_point()]
        if unbound and made and not in_place:
            self._bound(args, kwargs, name)
        if in_place:
            self._forget_views(args)
        self.write(rule, made, args, "" if isinstance(found, Rule) else found, (args, kwargs))
        if made and self.stack:
            self.on_output(call, rule, made[0])
        return out

    def _rule(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Rule | str:
        handler = self.handlers.get(name)
        if handler is None:
            return self._inherited(args) or f"{name or 'a function'} is not covered"
        try:
            with torch.no_grad():
                rule = handler(self, args, kwargs)
        except (ArithmeticError, IndexError, RuntimeError, TypeError, ValueError):
            return f"an unusual call of {name}"  # theory must never stop the model that it watches
        if isinstance(rule, Rule) and self.stack and rule.kind:
            self.kinds[self.stack[-1]] = rule.kind
        return rule

    def _inherited(self, args: tuple[Any, ...]) -> str:
        nodes = [self.node(tensor) for tensor in tensors_in(args)]
        return next((node.why for node in nodes if node is not None and node.signal is None and node.why), "")

    @contextmanager
    def pause(self) -> Generator[None]:
        """Look away while somebody measures tensors inside the pass."""
        self.paused += 1
        try:
            yield
        finally:
            self.paused -= 1

    def follow(self, rule: Rule | str, made: list[Tensor], args: tuple[Any, ...]) -> None:
        """Enter an operation that ran while the tape was paused."""
        known = rule if isinstance(rule, Rule) else None
        if known is None or known.pull is None:
            self._bound(args, {}, "")
        self.write(known, made, args, "" if isinstance(rule, Rule) else rule, args)

    def write(self, rule: Rule | None, made: list[Tensor], args: tuple[Any, ...], why: str, sources: Any) -> None:
        """Give the tensors that an operation made from `sources` their nodes."""
        if not made:
            return
        ancestors = {} if rule is not None else self._ancestors(sources)
        why = why if ancestors or rule is not None else "it depends on no weight"
        channels = [self._channel(rule, tensor, args) for tensor in made]
        signals = (None,) * len(made) if rule is None or len(rule.signals) != len(made) else rule.signals
        nodes = tuple(
            Node(signal, channel, self.draws, ancestors if signal is None else signal.ancestors, why)
            for signal, channel in zip(signals, channels, strict=True)
        )
        for tensor, node in zip(made, nodes, strict=True):
            self._nodes[tensor] = node
        if rule is not None:
            self.records.append(Record(rule, nodes))

    def _ancestors(self, values: Any) -> Ancestors:
        """All draws that an operation on these depends on."""
        return merged(self.depends(tensor) for tensor in tensors_in(values))

    def depends(self, tensor: Tensor) -> Ancestors:
        """The draws that a tensor depends on; every one so far where the tape has not seen how it was made."""
        name = self.names.get(id(tensor))
        if name is not None:
            return {self.draw(name): ALL}
        node = self.node(tensor)
        if node is not None:
            return node.ancestors if node.signal is None else node.signal.ancestors
        return before(self.draws) if tensor.requires_grad else {}

    def _channel(self, rule: Rule | None, out: Tensor, args: tuple[Any, ...]) -> int | None:
        if rule is not None and rule.channel is not None:
            return rule.channel
        first = next(tensors_in(args), None)
        node = None if first is None else self.node(first)
        if first is None or node is None or node.channel is None:
            return None
        # A loss inside the model is a number, without axes.
        kept = out.ndim > 0 and (node.channel == -1 or first.ndim == out.ndim)
        return node.channel if kept and first.shape[node.channel] == out.shape[node.channel] else None

    def node(self, tensor: Tensor) -> Node | None:
        """The tensor's node, where the tape has seen it."""
        return self._nodes.get(tensor)

    def start(self, inputs: Iterable[Tensor]) -> None:
        """Register the model's inputs: they depend on no weight."""
        for tensor in inputs:
            self._nodes[tensor] = Node(None, None, 0, why="an input is measured, not expected")

    def signal(self, tensor: Tensor, dim: int) -> Signal | None:
        """The tensor's expected signal, or its measured moments over `dim` where theory has none."""
        node = self.node(tensor)
        if node is not None and node.signal is not None:
            return node.signal
        if not tensor.is_floating_point():
            return None
        seen = Lazy(lambda: gram(tensor, dim))
        return Signal(*measure(tensor, dim), ancestors=self.depends(tensor), pairs=seen)

    def why(self, tensor: Tensor) -> str:
        """Why theory expects nothing of a tensor."""
        node = self.node(tensor)
        return "it is not known how a tensor was made" if node is None else node.why

    def used(self, name: str) -> bool:
        """The weight was used before."""
        return name in self._drawn

    def draw(self, name: str) -> int:
        """A number for a weight's draw, given at its first use."""
        if name not in self._drawn:
            self._drawn[name] = self.draws
            self.draws += 1
        return self._drawn[name]

    def mark_table(self, name: str) -> None:
        """The weight was used to look rows up."""
        self._tables.add(name)

    def is_table(self, name: str) -> bool:
        """All that was done with the weight is to look rows up."""
        return name in self._tables

    def moments(self, name: str, parameter: Tensor) -> Moments:
        """Moments of a parameter's values, taken once."""
        if name not in self.values:
            self.values[name] = moments(parameter, spreads=True)
        return self.values[name]

    def close(self, outputs: Iterable[Tensor]) -> None:
        """Measure the gradients of the outputs, where the backward expectation starts."""
        for tensor in outputs:
            self._bound_one(tensor)

    def _bound(self, args: tuple[Any, ...], kwargs: dict[str, Any], name: str) -> None:
        for tensor in (*tensors_in(args), *tensors_in(kwargs)):
            self._bound_one(tensor, selects=name.startswith(_SELECTS))

    def _bound_one(self, tensor: Tensor, *, selects: bool = False) -> None:
        node = self.node(tensor)
        if node is None:
            return
        node.selected = node.selected or selects
        if node.boundary:
            return
        node.boundary = True
        if tensor.requires_grad:
            self.handles.append(tensor.register_hook(partial(_keep, node)))

    def _forget_views(self, args: tuple[Any, ...]) -> None:
        """After a write in place, tensors that share the memory no longer hold what was expected of them."""
        target = next(tensors_in(args), None)
        if target is None or self.node(target) is None:
            return
        memory = target.untyped_storage().data_ptr()
        for tensor, node in list(self._nodes.items()):
            if tensor is not target and tensor.untyped_storage().data_ptr() == memory:
                self._nodes[tensor] = Node(
                    None, node.channel, self.draws, before(self.draws), "another tensor writes into its memory"
                )


def _in_place(name: str, kwargs: dict[str, Any]) -> bool:
    dunder = name.startswith("__")
    return (
        kwargs.get("inplace") is True
        or (name.endswith("_") and not dunder)
        or name == "__setitem__"
        or (dunder and name.startswith("__i") and name not in {"__invert__", "__index__", "__int__"})
    )


def _keep(node: Node, gradient: Tensor) -> None:
    second = (
        measure(gradient, node.channel)[1] if gradient.ndim > 1 or node.channel is not None else gradient.double() ** 2
    )
    node.measured = second
