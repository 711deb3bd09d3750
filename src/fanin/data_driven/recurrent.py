"""Recurrent layers: the gates' pre-activations are measured at the input, layer by layer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from fanin.data_driven.looks import look
from fanin.data_driven.measuring import Product
from fanin.data_driven.rescaling import Rescaling

_LAYERS = ("lstm", "gru", "rnn_tanh", "rnn_relu")
_CELLS = tuple(f"{name}_cell" for name in _LAYERS)
RECURRENT = "the recurrent matrix keeps its scale: how long a state lasts, not how large it is, hangs on it"


class Recurrent(TorchFunctionMode):
    """Rescales the input weights of recurrent layers, which torch runs as one operation.

    Of x W_ihᵀ + h W_hhᵀ + b, the pre-activations of the gates, the part that the input makes gets variance one, each
    gate for itself; with h = 0 at the first step it is all there is but the bias.
    """

    def __init__(self, rescaling: Rescaling) -> None:
        super().__init__()
        self._rescaling = rescaling

    def __torch_function__(
        self, func: Any, types: Iterable[type], args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name, kwargs = getattr(func, "__name__", ""), kwargs or {}
        if name not in _LAYERS + _CELLS or self._rescaling.paused:
            return func(*args, **kwargs)
        self._rescaling.paused = True
        try:
            if name in _CELLS:
                self._rescale(args[0], args[2], args[3])
                return func(*args, **kwargs)
            return self._layers(func, name == "lstm", list(args))
        finally:
            self._rescaling.paused = False

    def _layers(self, func: Any, has_cell: bool, args: list[Any]) -> Any:
        """Run a stack one layer at a time: what a layer reads is what the rescaled one below gives."""
        place = max(number for number, arg in enumerate(args) if isinstance(arg, list | tuple))
        weights, biases, layers = list(args[place]), args[place + 1], args[place + 2]
        sides = 1 + bool(args[place + 5])
        size = len(weights) // (layers * sides)
        states = args[place - 1] if has_cell else (args[place - 1],)
        signal, last = args[0], [[] for _ in states]
        for layer in range(layers):
            own = weights[layer * sides * size : (layer + 1) * sides * size]
            for side in range(sides):
                self._rescale(signal, own[side * size], own[side * size + 1])
            held = tuple(state[layer * sides : (layer + 1) * sides] for state in states)
            call = [signal, *args[1:]]
            call[place - 1 : place + 3] = [held if has_cell else held[0], own, biases, 1]
            signal, *after = func(*call)
            for kept, state in zip(last, after, strict=True):
                kept.append(state)
        return (signal, *(torch.cat(each) for each in last))

    def _rescale(self, signal: Tensor, weight: Tensor, recurrent: Tensor) -> None:
        parameters = self._rescaling.parameters
        held, beside = parameters.of(weight), parameters.of(recurrent)
        if beside is not None:
            beside.uses, beside.kept = beside.uses + 1, beside.kept or RECURRENT
        part = None if held is None else look(weight, held.tensor, 0)
        if held is None or part is None:
            return
        held.uses += 1
        if not held.is_open(part):
            return
        values = signal @ weight.T
        change = self._rescaling.decide(
            held, part, Product(held.name, values, values.dim() - 1, held.blocks_along(part))
        )
        if change is not None:
            factor = torch.as_tensor(change.factor, dtype=torch.float64).to(weight.device, values.dtype)
            weight.mul_(factor.reshape(-1, 1) if factor.dim() else factor)
