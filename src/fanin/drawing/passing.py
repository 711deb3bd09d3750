"""One pass of a model as its drawing needs it: what was computed where, and which shapes came out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from fanin.errors import TraceError
from fanin.graph.flow import Flow
from fanin.torch.trace.attempts import attempted
from fanin.torch.trace.dataflow import FlowBuilder
from fanin.torch.trace.recording import Call
from fanin.torch.trace.twin_pass import TwinPass

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Seen:
    """What a pass shows.

    Attributes:
        flow: every operation, and last a look at all that the model returned.
        shapes: the first output of each module that ran, by its name.
        given: the first input of the model.
        result: its first output.
        echoes: it returned indices or masks that were made from those in its inputs.
        notes: what was assumed.
    """

    flow: Flow
    shapes: Mapping[str, Shape]
    given: Shape | None
    result: Shape
    echoes: bool = False
    notes: tuple[str, ...] = ()


def seen(model: nn.Module, inputs: Any) -> Seen:
    """Run `model` on tensors without memory.

    Raises:
        TraceError: the pass fails, or nothing tells what inputs the model takes.
    """
    if inputs is not None:
        pass_ = _Pass(model)
        pass_.run(inputs)
        return pass_.seen(pass_.assumed)
    found, notes = attempted(model, lambda: _Pass(model))
    if found is None or not found.returned:
        raise TraceError(f"{type(model).__name__} cannot be drawn: {notes[0] if notes else 'its pass failed'}")
    return found.seen(notes)


class _Pass(TwinPass):
    """A pass that notes what each module returns."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model, {})
        self._shapes: dict[str, Shape] = {}
        self._given: Shape | None = None
        for name, module in self._twin.named_modules():
            module.register_forward_hook(self._noting(name))

    def run(self, inputs: Any) -> None:
        """Run it, and note what it is given."""
        self._given = _first(inputs)
        super().run(inputs)

    def _noting(self, name: str) -> Callable[..., None]:
        def note(module: nn.Module, given: Any, result: Any) -> None:
            shape = _first(result)
            if shape is not None:
                self._shapes.setdefault(name, shape)

        return note

    def seen(self, notes: tuple[str, ...]) -> Seen:
        """What the finished pass shows."""
        builder = FlowBuilder(self.origins, self.recorder.dependence)
        for call in self.calls:
            self.origins.derives(call)
            builder.add(call, ())
        # A view of all that is returned, so that the builder tells which memories that lies in.
        returned = tuple(self.returned)
        builder.add(Call("return", tuple, returned, {}, returned, returned, ""), ())
        echoes = self.recorder.dependence.has(returned)
        return Seen(builder.flow(), self._shapes, self._given, tuple(returned[0].shape), echoes, notes)


def _first(result: Any) -> Shape | None:
    return next((tuple(leaf.shape) for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)), None)
