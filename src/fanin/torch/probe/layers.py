"""Hooks on the layers of a model: one row for each call, forward at once, the gradient as it arrives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from torch.utils.weak import WeakTensorKeyDictionary

from fanin.torch.probe.attention import Entropies
from fanin.torch.probe.batch import tensors_in
from fanin.torch.probe.composites import composite, rule_of
from fanin.torch.probe.handlers import ACTIVATIONS
from fanin.torch.probe.layer_probe import LayerProbe, Row
from fanin.torch.probe.likeness import likeness
from fanin.torch.probe.moments import dead_units, moments, varying
from fanin.torch.probe.saturation import Flatness, flatness
from fanin.torch.probe.signal import Node, Rule
from fanin.torch.probe.tape import Call, Tape

_SILENT = (nn.Identity, nn.Flatten, nn.Unflatten, nn.modules.dropout._DropoutNd)  # pyright: ignore[reportPrivateUsage]


class Layers:
    """Rows for modules that compute by themselves (leaves, or with own parameters) and for bare activations."""

    def __init__(self, model: nn.Module, tape: Tape) -> None:
        self.rows: list[Row] = []
        self.handles: list[RemovableHandle] = []
        self._model = model
        self._parameters = dict(model.named_parameters())
        names = {id(parameter): name for name, parameter in self._parameters.items()}
        # By every path, tied ones too: `fully_shard` puts other tensors in their places while the pass runs.
        self._names = {path: names[id(p)] for path, p in model.named_parameters(remove_duplicate=False)}
        self._tape = tape
        self._calls: Counter[str] = Counter()
        self._watched: set[str] = set()
        self._entropies = Entropies()
        self._flat: Flatness | None = None
        self._even: dict[str, float] = {}
        self._read = WeakTensorKeyDictionary()
        self._numbers = count()
        self._reads: dict[str, int] = {}

    def attach(self) -> None:
        """Hook every module: all of them say where the pass is, layers are measured too."""
        self._tape.on_call, self._tape.on_output = self._before, self._after
        for name, module in self._model.named_modules():
            if _is_layer(module):
                self._watched.add(name)
            self.handles += [
                module.register_forward_pre_hook(partial(self._enter, name)),
                module.register_forward_hook(partial(self._leave, name)),
            ]

    def _enter(self, name: str, module: nn.Module, args: Any) -> None:
        self._tape.stack.append(name)
        for key, parameter in module.named_parameters(recurse=False):
            self._tape.names[id(parameter)] = self._names[f"{name}.{key}" if name else key]
        source = next(tensors_in(args), None)
        if source is not None:
            if source not in self._read:
                self._read[source] = next(self._numbers)
            self._reads[name] = self._read[source]
        kind = composite(module)
        self._tape.paused += bool(kind)
        if kind == "activation":
            self._look(module.forward, args[0])

    def _leave(self, name: str, module: nn.Module, args: Any, output: Any) -> None:
        out = next((t for t in tensors_in(output) if t.is_floating_point()), None)
        if composite(module):
            self._tape.paused -= 1
            self._composed(name, module, args, out)
        self._tape.stack.pop()
        if name in self._watched and out is not None:
            kind = self._tape.kinds.get(name) or _kind(module)
            kind = "weight" if kind == "other" and any(use.module == name for use in self._tape.uses) else kind
            with self._tape.pause():
                self._add(name, kind, type(module).__name__, out, name)

    def _composed(self, name: str, module: nn.Module, args: Any, out: Tensor | None) -> None:
        """A nonlinearity or norm that transformers composes of several operations counts as one."""
        self._tape.kinds[name] = composite(module)
        if out is None or self._tape.paused:
            return
        with torch.no_grad():
            rule = rule_of(self._tape, module, args, out)
        self._tape.follow(rule, [out], args)

    def _look(self, function: Callable[[Tensor], Tensor], x: Any) -> None:
        """Where a nonlinearity is flat on its input, before it may write over it."""
        with self._tape.pause():
            floats = isinstance(x, Tensor) and x.is_floating_point()
            self._flat = flatness(function, x) if floats else None

    def _before(self, call: Call) -> None:
        if call.name in ACTIVATIONS and call.args and self._tape.stack:
            rest = call.args[1:]
            self._look(lambda z: call.function(z, *rest, **call.kwargs), call.args[0])

    def _after(self, call: Call, rule: Rule | None, out: Tensor) -> None:
        """A bare activation or attention in a forward method gets a row of its own."""
        inside = self._tape.stack[-1]
        with self._tape.pause():
            entropy = self._entropies.of(call.name, call.args, call.kwargs, out)
            if entropy is not None:
                self._even[inside] = entropy
            if inside in self._watched:
                return
            if entropy is not None:
                self._add(f"{inside}:attention", "attention", call.name, out, inside)
            if call.name in ACTIVATIONS:
                before = self.rows[-1].forward_pass.name.partition(":")[0].partition("#")[0] if self.rows else inside
                short = call.name.rstrip("_")
                self._add(f"{before}:{short}", "activation", short, out, inside)

    def _add(self, name: str, kind: str, type_: str, out: Tensor, module: str) -> None:
        self._calls[name] += 1
        label = name if self._calls[name] == 1 else f"{name}#{self._calls[name]}"
        node = self._tape.node(out)
        use = next((use for use in reversed(self._tape.uses) if use.module == name), None)
        channel = _channel(node, out, self._parameters.get(use.weight) if use else None)
        flat, self._flat = (self._flat, None) if kind == "activation" else (None, self._flat)
        forward = moments(out, spreads=True)
        alike = likeness(out, _by_tokens(kind, channel, out))
        units = channel if kind == "activation" else None
        layer = LayerProbe(
            label,
            kind,
            type_,
            tuple(out.shape),
            None if channel is None else out.shape[channel],
            dead_units(out, units) if units is not None and forward.zeros else None,
            forward,
            varying(out, forward.second),
            use.weight if use else None,
            use.bias if use else None,
            saturated=_saturated(flat, units, out),
            correlation=None if alike is None else alike.correlation,
            effective_rank=None if alike is None else alike.effective_rank,
            entropy=self._even.pop(module, None),
            reads=self._reads.pop(name, None),
        )
        row = Row(layer, node)
        self.rows.append(row)
        if out.requires_grad:
            self.handles.append(out.register_hook(partial(_receive, row)))


def _receive(row: Row, gradient: Tensor) -> None:
    row.gradient = moments(gradient, spreads=True)


def _channel(node: Node | None, out: Tensor, weight: Tensor | None) -> int | None:
    if node is not None and node.channel is not None:
        return node.channel
    if weight is not None and out.ndim > 2:
        return -1 if weight.ndim == 2 else 1
    return 1 if out.ndim == 2 else None


def _saturated(flat: Flatness | None, channel: int | None, out: Tensor) -> int | None:
    return None if flat is None or channel is None or flat.flat.ndim != out.ndim else flat.units(channel)


def _by_tokens(kind: str, channel: int | None, out: Tensor) -> bool:
    """Each position counts as a sample of its own: sequences and lookups, not images."""
    return out.ndim > 2 and (kind == "embedding" or (channel is not None and channel % out.ndim == out.ndim - 1))


def _is_layer(module: nn.Module) -> bool:
    leaf = next(module.children(), None) is None
    own = next(module.parameters(recurse=False), None) is not None
    return (leaf or own) and not isinstance(module, _SILENT)


def _kind(module: nn.Module) -> str:
    if isinstance(module, nn.Embedding | nn.EmbeddingBag):
        return "embedding"
    if "norm" in type(module).__name__.lower():
        return "norm"
    lone = next(module.children(), None) is None
    return "activation" if lone and type(module).__module__ == "torch.nn.modules.activation" else "other"
