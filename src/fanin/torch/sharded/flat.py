"""FSDP1's flat parameters: several tensors packed into one, whose parts cannot be told apart after wrapping."""

from __future__ import annotations

import sys

import torch
from torch import nn

from fanin.errors import PlanError


def is_flat(tensor: torch.Tensor) -> bool:
    """Whether FSDP1 packed this parameter from several."""
    return getattr(tensor, "_is_flat_param", False) is True


def refuse_flat(model: nn.Module) -> None:
    """Raise if FSDP1 has wrapped the model or a part of it: its tensors are flattened, packed and cut.

    Raises:
        PlanError: naming the first wrapped module.
    """
    package = sys.modules.get("torch.distributed.fsdp")
    if package is None:
        return
    if not any(issubclass(kind, package.FullyShardedDataParallel) for kind in _kinds(model)):
        return
    for name, module in model.named_modules():
        if isinstance(module, package.FullyShardedDataParallel):
            what = repr(name) if name else "the model"
            raise PlanError(
                f"FSDP1 has wrapped {what} and packed its tensors into flat parameters: plan the model before that and "
                "materialize it then, or pass param_init_fn=fanin.module_init(model, plan, seed) to FSDP"
            )


def _kinds(model: nn.Module) -> set[type]:
    """The classes of all modules; `named_modules` takes ten times as long."""
    kinds: set[type] = set()
    waiting = [model]
    while waiting:
        module = waiting.pop()
        kinds.add(type(module))
        waiting += [child for child in module._modules.values() if child is not None]  # pyright: ignore[reportPrivateUsage]
    return kinds
