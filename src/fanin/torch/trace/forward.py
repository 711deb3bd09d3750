"""Trace: one forward pass without memory, read as a graph of what uses which parameter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from fanin.errors import TraceError
from fanin.graph.records import Graph, Use
from fanin.torch.tensors import stored_tensors
from fanin.torch.trace.follow import Following
from fanin.torch.trace.inputs import guesses
from fanin.torch.trace.modules import uses_by_type
from fanin.torch.trace.origins import Origins
from fanin.torch.trace.recording import Call, Recorder, WholeOperations, follow_modules
from fanin.torch.trace.twin import weightless_twin
from fanin.torch.trace.undisturbed import arguments, switch_cache_off, undisturbed
from fanin.torch.trace.uses import CONTRACTIONS, Uses


def trace(model: nn.Module, inputs: Any = None) -> Graph:
    """Every use of every parameter in one forward pass, with axes and the nonlinearity that follows.

    The pass runs on a copy without weights (`meta`), in evaluation mode; the model itself, its hooks, buffers and
    modes, and the random state stay as they are. Axes come from the operation that uses a parameter, never from
    its shape.

    Args:
        model: real or meta.
        inputs: a tensor, a tuple of positional or a mapping of keyword arguments. Without them they are made from the
            model's first layer or its transformers config. If that fails, what could not be followed is taken from
            the classes of the modules, and `notes` says so.

    Raises:
        TraceError: the forward pass failed on the given inputs; names the layer.

    >>> graph = trace(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)))
    >>> [(use.tensor, use.axes.fans, use.activation) for use in graph.uses if use.axes]
    [('0.weight', (4.0, 3.0), 'relu'), ('2.weight', (3.0, 2.0), 'linear')]
    """
    if inputs is not None:
        pass_ = _Pass(model)
        pass_.run(inputs)
        return pass_.graph(())
    return _guessed(model)


def _guessed(model: nn.Module) -> Graph:
    furthest: _Pass | None = None
    failure: TraceError | None = None
    try:
        for description, inputs in guesses(model):
            pass_ = _Pass(model)
            try:
                pass_.run(inputs)
                return pass_.graph((f"inputs were made up: {description}",))
            except TraceError as error:
                if furthest is None or len(pass_.calls) > len(furthest.calls):
                    furthest, failure = pass_, error
    except TraceError as error:  # the model cannot even be copied
        failure = error
    why = "nothing tells what inputs it takes" if failure is None else str(failure)
    note = f"the forward pass was not followed to its end ({why}); module classes fill in: pass inputs= to trace it"
    if furthest is None:
        return _with_fallback(model, (), (note,))
    return furthest.graph((note,))


class _Pass:
    """One forward pass of a weightless twin."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._twin, parameters = weightless_twin(model)
        self._origins = Origins(parameters)
        self._recorder = Recorder()
        follow_modules(self._twin, self._recorder)

    @property
    def calls(self) -> list[Call]:
        return self._recorder.calls

    def run(self, inputs: Any) -> None:
        args, kwargs = arguments(inputs)
        self._origins.mark_data([leaf for leaf in tree_leaves((args, kwargs)) if _is_meta(leaf)])
        switch_cache_off(self._twin)
        try:
            with undisturbed(), torch.no_grad(), self._recorder, WholeOperations(self._recorder):
                self._twin(*args, **kwargs)
        except Exception as error:
            raise TraceError(self._failure(error)) from error

    def graph(self, notes: tuple[str, ...]) -> Graph:
        uses, found = self._uses()
        return _with_fallback(self._model, uses, notes + found)

    def _uses(self) -> tuple[tuple[Use, ...], tuple[str, ...]]:
        reader = Uses(self._origins)
        following: list[tuple[Use, int | None]] = []
        for index, call in enumerate(self.calls):
            uses = reader.of(call)
            following += [(use, index if call.op in CONTRACTIONS else None) for use in uses]
            self._origins.derives(call)
        after = Following(self.calls, self._origins)
        uses = dict.fromkeys(_followed(use, index, after) for use, index in following)
        return tuple(uses), tuple(_notes(uses))

    def _failure(self, error: Exception) -> str:
        where = self._recorder.modules[-1] if self._recorder.modules else ""
        layer = dict(self._twin.named_modules()).get(where, self._twin)
        place = f"layer {where!r} ({type(layer).__name__})" if where else type(layer).__name__
        first = str(error).strip().splitlines()[0] if str(error).strip() else ""
        return f"the forward pass failed in {place}: {type(error).__name__}: {first}"


def _followed(use: Use, index: int | None, after: Following) -> Use:
    if index is None or use.op == "bias":
        return use
    follower = after.after(index)
    return replace(use, activation=follower.activation, parameter=follower.parameter)


def _notes(uses: Mapping[Use, None]) -> Iterator[str]:
    for use in uses:
        if use.op in ("linear", "conv", "conv_transpose", "bilinear") and not use.activation:
            yield f"{use.tensor}: an unknown nonlinearity follows"
        if use.op == "linear" and use.axes is None:
            yield f"{use.tensor}: one of its dimensions is summed in part and free in part, so it has no single fan"


def _with_fallback(model: nn.Module, uses: tuple[Use, ...], notes: tuple[str, ...]) -> Graph:
    """The graph with uses by module class for parameters that the pass never reached."""
    reached = {use.tensor for use in uses}
    unreached = tuple(t.name for t in stored_tensors(model) if t.kind == "parameter" and t.name not in reached)
    missing = set(unreached)
    by_type = tuple(use for use in uses_by_type(model) if use.tensor in missing)
    return Graph(uses + by_type, unreached, notes)


def _is_meta(leaf: Any) -> bool:
    return isinstance(leaf, torch.Tensor) and leaf.is_meta
