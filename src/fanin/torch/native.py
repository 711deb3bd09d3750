"""The laws of the authors: where the values of a model come from if nobody says otherwise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor

from fanin.errors import ArgumentError
from fanin.plans import Plan
from fanin.plans.steps import Keep, Step, Unknown
from fanin.torch.capture import Captured, capture
from fanin.torch.sharded.flat import refuse_flat
from fanin.torch.tensors import StoredTensor, registrations, stored_tensors
from fanin.torch.trace.twin import empty_like, twin_with
from fanin.torch.unwrapped import unwrapped

_RESETS = ("reset_parameters", "_reset_parameters")


@dataclass(frozen=True, slots=True)
class Native:
    """A model and the plan of its own code."""

    model: nn.Module
    plan: Plan


def native(model: nn.Module | Captured | Callable[[], nn.Module]) -> Native:
    """The model itself and what its own code draws.

    Args:
        model: a captured model; a factory, which is captured; or a module, whose constructor is not known: then its
            `initialize_weights` (transformers) or its modules' `reset_parameters` are re-run under capture, and
            what these do not write is kept (real tensors) or unknown (meta tensors).

    Raises:
        ArgumentError: none of these.
        CaptureError: the factory cannot be run without memory.
        PlanError: a model that FSDP1 has wrapped, whose tensors are gone.
    """
    if isinstance(model, Captured):
        return Native(unwrapped(model.model), model.plan)
    if isinstance(model, nn.Module):
        refuse_flat(model)
        bare = unwrapped(model)
        return Native(bare, _of_module(bare))
    if callable(model):
        captured = capture(model)
        return Native(unwrapped(captured.model), captured.plan)
    raise ArgumentError(f"expected a module, a captured model or a function that makes one, got {type(model).__name__}")


def _of_module(model: nn.Module) -> Plan:
    stored = stored_tensors(model)
    try:
        captured = capture(lambda: _reset(_blank(model, stored))).plan
    except Exception as error:  # reset code is the user's: whatever it raises, the values that are there remain
        steps = tuple(_unwritten(entry) for entry in stored)
        return Plan(steps, type(model).__name__, "native", (f"its reset code cannot be re-run: {error}",))
    return Plan(tuple(_step(entry, captured) for entry in stored), type(model).__name__, "native", captured.notes)


def native_at(
    model: nn.Module, shapes: Mapping[str, tuple[int, ...]], adjust: Callable[[nn.Module], None]
) -> dict[str, Step]:
    """What the model's reset code would draw if its tensors had other shapes: by name, where it draws them.

    Args:
        model: as of `native`.
        shapes: of every stored tensor.
        adjust: sets what the code reads beside the tensors (fields of a config), on a copy of the model.
    """
    bare = unwrapped(model)

    def reset() -> nn.Module:
        entries = {entry.name: entry.tensor for entry in stored_tensors(bare)}
        tensors = {name: _empty(tensor, shapes[name]) for name, tensor in entries.items()}
        twin = twin_with(bare, tensors)
        adjust(twin)
        return _reset(twin)

    steps = capture(reset).plan.values()
    return {step.name: step for step in steps if not isinstance(step.action, Unknown | Keep)}


def _empty(tensor: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    empty = torch.empty(shape, dtype=tensor.dtype)
    return nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty


def _blank(model: nn.Module, stored: tuple[StoredTensor, ...]) -> nn.Module:
    return twin_with(model, {entry.name: empty_like(entry.tensor, "cpu") for entry in stored})


def _reset(model: nn.Module) -> nn.Module:
    initialize: Any = getattr(model, "initialize_weights", None)
    if callable(initialize) and hasattr(model, "config"):
        for module in model.modules():
            vars(module).pop("_is_hf_initialized", None)
        _untie(model)
        initialize()
        return model
    # As in constructors: children first, then the module that holds them.
    for module in reversed(list(model.modules())):
        for name in _RESETS:
            reset = getattr(module, name, None)
            if callable(reset):
                reset()
    return model


def _untie(model: nn.Module) -> None:
    """Leave a tied parameter to its first holder: constructors draw before they tie, so the later draws are lost."""
    holders: dict[int, nn.Module] = {}
    for entry in list(registrations(model)):
        first = holders.setdefault(id(entry.tensor), entry.module)
        if first is not entry.module and isinstance(entry.tensor, nn.Parameter):
            setattr(entry.module, entry.key, empty_like(entry.tensor, "cpu"))


def _step(entry: StoredTensor, captured: Plan) -> Step:
    step = captured.get(entry.name)
    if step is None or isinstance(step.action, Unknown | Keep):
        return _unwritten(entry)
    return replace(_unwritten(entry), action=step.action, why=_RERUN.format(step.why), source=step.source)


_RERUN = "{} (its reset code, re-run: its constructor is not known)"


def _unwritten(entry: StoredTensor) -> Step:
    has_values = not entry.tensor.is_meta and not isinstance(entry.tensor, FakeTensor)
    return Step(
        name=entry.name,
        shape=tuple(entry.tensor.shape),
        dtype=str(entry.tensor.dtype).removeprefix("torch."),
        kind=entry.kind,
        action=Keep() if has_values else Unknown(),
        why="the model has values, and no code to draw them is known: they are taken for the authors'"
        if has_values
        else "a meta tensor whose constructor is not known: plan the function that makes the model instead",
        aliases=entry.aliases,
        persistent=entry.persistent,
    )
