"""Parameters under FSDP2's `fully_shard` that get another shape: what FSDP2 keeps of their sizes must follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from fanin.errors import PlanError
from fanin.torch.sharded.dtensor import local_of
from fanin.torch.sharded.fully_sharded import groups_of
from fanin.torch.sharded.reshaped import of_shape, over, reshaped

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor

# Attributes of an FSDPParam that say how large the parameter and its parts are; the last two are not always there.
_SIZES = (
    "_orig_size",
    "_contiguous_orig_stride",
    "sharded_size",
    "contiguous_sharded_stride",
    "padded_sharded_param_size",
    "sharded_post_forward_size",
    "contiguous_sharded_post_forward_stride",
)
_STATE = ("_unsharded_dtensor_spec", "all_gather_outputs", "unsharded_accumulated_grad", "mesh_info")


@dataclass(frozen=True, slots=True, eq=False)
class Refitted:
    """A stored tensor of another shape.

    Attributes:
        values: zeros; of a sharded one a DTensor.
        owner: FSDP2's record of the parameter; None where it is not under `fully_shard`.
        sizes: attributes that the record gets.
    """

    values: torch.Tensor
    owner: Any = None
    sizes: tuple[tuple[str, Any], ...] = ()


def refitted(model: nn.Module, name: str, tensor: DTensor, shape: Sequence[int]) -> Refitted:
    """The stored tensor `tensor` of `model`, called `name`, with another shape and zeros; nothing is changed yet.

    Raises:
        PlanError: FSDP2 cannot shard that shape.
    """
    owner = owner_of(model, tensor)
    if owner is None:
        return Refitted(reshaped(tensor, shape))
    try:
        pattern = _pattern(owner, tensor, shape)
    except NotImplementedError as error:
        raise PlanError(
            f"{name!r} cannot change its size to {tuple(shape)}: {error}; choose one that the ranks can divide, as by "
            "pad_to_multiple_of="
        ) from error
    local = local_of(tensor).new_zeros(local_of(pattern.sharded_param).shape)
    sizes = {key: getattr(pattern, key) for key in _SIZES if hasattr(pattern, key)}
    if owner._unsharded_dtensor_spec is not None:
        sizes["_unsharded_dtensor_spec"] = of_shape(owner._unsharded_dtensor_spec, shape)
    return Refitted(over(tensor, shape, local), owner, tuple(sizes.items()))


def owner_of(model: nn.Module, tensor: torch.Tensor) -> Any:
    """FSDP2's record of a sharded parameter of `model`; None where there is none."""
    params = (param for group in groups_of(model) for param in group.fsdp_params)
    return next((param for param in params if param.sharded_param is tensor), None)


def is_known(owner: Any) -> bool:
    """Whether FSDP2's record has the attributes that `refit` sets: they are not public, and change with torch."""
    return all(hasattr(owner, key) for key in (*_SIZES[:5], *_STATE))


def has_gradients_in_flight(model: nn.Module, owner: Any) -> bool:
    """Whether gradients of the old shape wait to be reduced (`set_requires_gradient_sync(False)`)."""
    unsharded = getattr(owner, "_unsharded_param", None)
    waiting = owner.unsharded_accumulated_grad is not None or (unsharded is not None and unsharded.grad is not None)
    return waiting or any(
        getattr(group, "_partial_reduce_output", None) is not None
        for group in groups_of(model)
        if any(param is owner for param in group.fsdp_params)
    )


def refit(fitting: Refitted) -> None:
    """Tell FSDP2 the new sizes of a parameter that has its new shape already; what it gathered before is let go."""
    owner = fitting.owner
    vars(owner).update(fitting.sizes)
    vars(owner).update(all_gather_outputs=[])
    vars(owner).pop("_unsharded_param", None)
    owner.reset_sharded_param()


def _pattern(owner: Any, tensor: Any, shape: Sequence[int]) -> Any:
    """FSDP2's own record of a parameter of the new shape, without memory."""
    from torch.distributed.fsdp import OffloadPolicy
    from torch.distributed.fsdp._fully_shard._fsdp_param import FSDPParam, ParamModuleInfo

    module = nn.Module()
    module.weight = nn.Parameter(_unsharded(owner, tensor, shape), requires_grad=False)
    return FSDPParam(
        module.weight,
        ParamModuleInfo(module, "weight"),
        owner.mesh_info,
        owner.post_forward_mesh_info,
        owner.device,
        lambda _: owner.fsdp_placement,
        owner.mp_policy,
        OffloadPolicy(),
    )


def _unsharded(owner: Any, tensor: Any, shape: Sequence[int]) -> torch.Tensor:
    """What FSDP2 shards, on the meta device: the whole tensor, or the process's part under tensor parallelism."""
    spec = owner._unsharded_dtensor_spec
    if spec is None:
        return torch.empty(tuple(shape), dtype=tensor.dtype, device="meta")
    from torch.distributed.tensor import DTensor

    part = torch.empty(owner._orig_size, dtype=tensor.dtype, device="meta")
    return reshaped(DTensor(part, spec, requires_grad=False), shape)  # pyright: ignore
