"""Modules under FSDP2's `fully_shard`, which keep references of their own to the parameters' memory."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from torch import nn

if TYPE_CHECKING:
    from torch.distributed.fsdp import FSDPModule


def reshard(model: nn.Module) -> None:
    """Let go of gathered parameters, so that the modules hold their shards: values in gathered ones would be lost."""
    for module in _modules(model):
        module.reshard()


def reset(model: nn.Module) -> None:
    """Point FSDP2 to the memory that the sharded parameters have now; it pads uneven shards."""
    for group in groups_of(model):
        for parameter in group.fsdp_params:
            parameter.reset_sharded_param()


def groups_of(model: nn.Module) -> Iterator[Any]:
    """FSDP2's groups of parameters, which it gathers together."""
    for module in _modules(model):
        yield from module._get_fsdp_state()._fsdp_param_groups  # pyright: ignore[reportPrivateUsage]


def plain_class(module: nn.Module) -> type[nn.Module]:
    """The module's class before `fully_shard` gave it one of its own."""
    kind: Any = type(module)
    return kind.__mro__[kind._orig_cls_mro_index] if _is_fully_sharded(module) else kind


def plain_state(module: nn.Module) -> dict[str, Any]:
    """The module's attributes without those that `fully_shard` keeps its own state in."""
    if not _is_fully_sharded(module):
        return vars(module)
    from torch.distributed._composable.contract import REGISTRY_KEY, STATE_KEY

    return {key: value for key, value in vars(module).items() if key not in (REGISTRY_KEY, STATE_KEY)}


def _modules(model: nn.Module) -> Iterator[FSDPModule]:
    contract = sys.modules.get("torch.distributed._composable_state")
    if contract is None or not contract._module_state_mapping:  # no module of this process is under fully_shard
        return
    for module in model.modules():
        if _is_fully_sharded(module):
            yield module  # pyright: ignore[reportReturnType]


def _is_fully_sharded(module: nn.Module) -> bool:
    package = sys.modules.get("torch.distributed.fsdp")
    return package is not None and isinstance(module, package.FSDPModule)
