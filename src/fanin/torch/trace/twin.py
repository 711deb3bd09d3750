"""Copies of a model with other tensors, which may be run and spoiled while the model itself stays as it is."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor

from fanin.errors import TraceError
from fanin.torch.sharded.dtensor import is_dtensor
from fanin.torch.tensors import StoredTensor, registrations, stored_tensors

# Small constants keep their values, so that code which reads them (masks, position indices) can run.
_SMALL = 1 << 20
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def weightless_twin(model: nn.Module, known: Mapping[str, torch.Tensor]) -> tuple[nn.Module, dict[str, torch.Tensor]]:
    """A deep copy of `model` in evaluation mode whose parameters are on `meta`, and these parameters by name.

    Small buffers keep their values, or have those of `known`; large ones are on `meta` too. Tied tensors stay tied.

    Raises:
        TraceError: the model cannot be copied.
    """
    stored = stored_tensors(model)
    parameters = {entry.name: empty_like(entry.tensor, "meta") for entry in stored if entry.kind == "parameter"}
    buffers = {entry.name: _constant(entry.tensor) for entry in stored if entry.kind == "buffer"}
    buffers |= {name: known[name] for name, buffer in buffers.items() if buffer.is_meta and name in known}
    return twin_with(model, parameters | buffers).eval(), parameters


def twin_with(model: nn.Module, tensors: Mapping[str, torch.Tensor]) -> nn.Module:
    """A deep copy of `model` that holds `tensors` (by name of the stored tensor) instead of its own.

    Hooks are left out, except those of `torch.nn.utils`, which compute weights (weight norm), and of transformers.

    Raises:
        TraceError: the model cannot be copied.
    """
    memo: dict[int, Any] = {id(hook): hook for hook in _hooks(model)}
    memo |= {id(tensor): _constant(tensor) for tensor in _attributes(model)}
    memo |= _replacements(model, stored_tensors(model), tensors)
    try:
        twin = copy.deepcopy(model, memo)
    except Exception as error:
        raise TraceError(f"{type(model).__name__} cannot be copied for tracing: {error}") from error
    for module in twin.modules():
        _drop_hooks(module)
    return twin


def empty_like(tensor: torch.Tensor, device: str) -> torch.Tensor:
    """A tensor of the same logical shape, strides and dtype without values; a parameter for a parameter."""
    # Fake tensors and DTensors give their logical shape here; the new one is a plain tensor.
    empty = torch.empty_strided(tuple(tensor.shape), tensor.stride(), dtype=tensor.dtype, device=device)
    return nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty


def _replacements(
    model: nn.Module, stored: tuple[StoredTensor, ...], tensors: Mapping[str, torch.Tensor]
) -> dict[int, torch.Tensor]:
    # Tied tensors may be several objects over the same memory: each object maps to the one new tensor.
    by_name = {name: tensors[entry.name] for entry in stored for name in entry.names}
    return {id(entry.tensor): by_name[entry.name] for entry in registrations(model)}


def _constant(tensor: torch.Tensor) -> torch.Tensor:
    readable = tensor.device.type == "cpu" and not isinstance(tensor, FakeTensor) and not is_dtensor(tensor)
    return tensor.detach().clone() if readable and tensor.numel() <= _SMALL else empty_like(tensor.detach(), "meta")


def _attributes(model: nn.Module) -> Iterator[torch.Tensor]:
    for module in model.modules():
        yield from (value for value in vars(module).values() if isinstance(value, torch.Tensor))


def _hooks(model: nn.Module) -> Iterator[Callable[..., Any]]:
    for module in model.modules():
        for kind in _HOOKS:
            yield from getattr(module, kind).values()


def _computes(hook: Callable[..., Any]) -> bool:
    """The model needs the hook to work: it computes weights, or collects hidden states for a later layer."""
    collects = getattr(hook, "__module__", "").startswith("transformers.")
    return collects or type(hook).__module__.startswith("torch.nn.utils")


def _drop_hooks(module: nn.Module) -> None:
    for kind in _HOOKS:
        hooks = getattr(module, kind)
        for key in [key for key, hook in hooks.items() if not _computes(hook)]:
            del hooks[key]
