"""Hooks on the layers of a model: one row for each call, forward moments at once, gradient moments as they arrive."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from math import isfinite
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from fanin.torch.probe.batch import tensors_in
from fanin.torch.probe.handlers import ACTIVATIONS, of_function
from fanin.torch.probe.moments import Moments, dead_units, moments, varying
from fanin.torch.probe.signal import Node, Rule
from fanin.torch.probe.tape import Tape

_SILENT = (nn.Identity, nn.Flatten, nn.Unflatten, nn.modules.dropout._DropoutNd)  # pyright: ignore[reportPrivateUsage]
_COMPOSED = "transformers.activations"


@dataclass(frozen=True, slots=True)
class LayerProbe:
    """One call of one layer.

    Attributes:
        name: qualified module name; "fc1:relu" for a function applied after it; "act#2" for a second call.
        kind: "weight", "activation", "norm", "embedding" or "other".
        type: class of the module, or the function.
        shape: shape of the output.
        units: size of the unit dimension; None where it is not known.
        dead: units that are zero for every sample and position; None where not counted.
        forward: moments of the output.
        varying: the part of E[h²] that differs between samples; None for a single sample.
        expected_forward: E[h²] that theory expects; None where it has no answer.
        gradient: moments of the loss's gradient with respect to the output; None where none arrives.
        expected_gradient: E[g²] that theory expects; None where it has no answer.
        weight: the parameter that the layer multiplies with, and `bias`; None where there is none.
    """

    name: str
    kind: str
    type: str
    shape: tuple[int, ...]
    units: int | None
    dead: int | None
    forward: Moments
    varying: float | None
    weight: str | None
    bias: str | None
    expected_forward: float | None = None
    gradient: Moments | None = None
    expected_gradient: float | None = None


@dataclass(eq=False, slots=True)
class Row:
    """One call of one layer, as it is being measured: the forward half, the node of its output, the gradient."""

    forward_pass: LayerProbe
    node: Node | None
    gradient: Moments | None = None

    def measured(self) -> LayerProbe:
        """Both halves, with what theory expects beside them."""
        return replace(
            self.forward_pass,
            expected_forward=self._expected_forward(),
            gradient=self.gradient,
            expected_gradient=self._expected_gradient(),
        )

    def _expected_forward(self) -> float | None:
        """E[h²] of the signal, averaged over samples and positions."""
        signal = None if self.node is None else self.node.signal
        return None if signal is None else _finite(signal.second)

    def _expected_gradient(self) -> float | None:
        """E[g²] that the backward sweep brought, averaged; None at boundaries, where it was measured."""
        if self.node is None or self.node.boundary or self.node.expected is None or self.gradient is None:
            return None
        return _finite(self.node.expected)


def _finite(map_: Tensor) -> float | None:
    value = float(map_.mean())
    return value if isfinite(value) else None


class Layers:
    """Rows for modules that compute by themselves (leaves, or with own parameters) and for bare activations."""

    def __init__(self, model: nn.Module, tape: Tape) -> None:
        self.rows: list[Row] = []
        self.handles: list[RemovableHandle] = []
        self._model = model
        self._tape = tape
        self._calls: Counter[str] = Counter()
        self._watched: set[str] = set()

    def attach(self) -> None:
        """Hook every module: all of them say where the pass is, layers are measured too."""
        self._tape.on_output = self._function
        for name, module in self._model.named_modules():
            if _is_layer(module):
                self._watched.add(name)
            self.handles += [
                module.register_forward_pre_hook(partial(self._enter, name)),
                module.register_forward_hook(partial(self._leave, name)),
            ]

    def _enter(self, name: str, module: nn.Module, _args: Any) -> None:
        self._tape.stack.append(name)
        self._tape.paused += _composed(module)

    def _leave(self, name: str, module: nn.Module, args: Any, output: Any) -> None:
        out = next((t for t in tensors_in(output) if t.is_floating_point()), None)
        if _composed(module):
            self._tape.paused -= 1
            self._activated(name, module, args, out)
        self._tape.stack.pop()
        if name in self._watched and out is not None:
            kind = self._tape.kinds.get(name, _kind(module))
            with self._tape.pause():
                self._add(name, kind, type(module).__name__, out)

    def _activated(self, name: str, module: nn.Module, args: Any, out: Tensor | None) -> None:
        """A nonlinearity that transformers composes of several operations counts as one."""
        self._tape.kinds[name] = "activation"
        if out is None or self._tape.paused:
            return
        with torch.no_grad():
            rule = of_function(self._tape, args[0], module.forward)
        self._tape.follow(rule, [out], args)

    def _function(self, name: str, rule: Rule | None, out: Tensor) -> None:
        """A bare activation in a forward method gets a row of its own, named after the layer before it."""
        inside = self._tape.stack[-1]
        if name not in ACTIVATIONS or inside in self._watched:
            return
        before = self.rows[-1].forward_pass.name.partition(":")[0].partition("#")[0] if self.rows else inside
        self._add(f"{before}:{name.rstrip('_')}", "activation", name.rstrip("_"), out)

    def _add(self, name: str, kind: str, type_: str, out: Tensor) -> None:
        self._calls[name] += 1
        label = name if self._calls[name] == 1 else f"{name}#{self._calls[name]}"
        node = self._tape.node(out)
        channel = _channel(node, out)
        use = next((use for use in reversed(self._tape.uses) if use.module == name), None)
        forward = moments(out)
        layer = LayerProbe(
            label,
            kind,
            type_,
            tuple(out.shape),
            None if channel is None else out.shape[channel],
            dead_units(out, channel) if kind == "activation" and channel is not None and forward.zeros else None,
            forward,
            varying(out, forward.second),
            use.weight if use else None,
            use.bias if use else None,
        )
        row = Row(layer, node)
        self.rows.append(row)
        if out.requires_grad:
            self.handles.append(out.register_hook(partial(_receive, row)))


def _receive(row: Row, gradient: Tensor) -> None:
    row.gradient = moments(gradient)


def _channel(node: Node | None, out: Tensor) -> int | None:
    if node is not None and node.channel is not None:
        return node.channel
    return 1 if out.ndim == 2 else None


def _is_layer(module: nn.Module) -> bool:
    leaf = next(module.children(), None) is None
    own = next(module.parameters(recurse=False), None) is not None
    return (leaf or own) and not isinstance(module, _SILENT)


def _composed(module: nn.Module) -> bool:
    return type(module).__module__ == _COMPOSED and next(module.parameters(), None) is None


def _kind(module: nn.Module) -> str:
    if isinstance(module, nn.Embedding | nn.EmbeddingBag):
        return "embedding"
    if "norm" in type(module).__name__.lower():
        return "norm"
    lone = next(module.children(), None) is None
    return "activation" if lone and type(module).__module__ == "torch.nn.modules.activation" else "other"
