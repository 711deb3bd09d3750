"""Which stored tensors of a model may change their sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from fanin.errors import PlanError
from fanin.torch.sharded.dtensor import is_dtensor, refusal
from fanin.torch.sharded.flat import refuse_flat
from fanin.torch.sharded.refitted import has_gradients_in_flight, is_known, owner_of
from fanin.torch.sharded.zero3 import refuse_partitioned
from fanin.torch.wrappers import is_wrapper

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor


def refuse_whole(model: nn.Module) -> None:
    """Raise if the sizes of no tensor of `model` can change.

    Raises:
        PlanError: FSDP1 has packed its tensors, or DeepSpeed's ZeRO-3 has partitioned them.
    """
    refuse_flat(model)
    refuse_partitioned(model)


def check_resizable(model: nn.Module, name: str, tensor: torch.Tensor) -> None:
    """Raise unless `tensor` holds plain floats, and may change its size in this model.

    Raises:
        PlanError: says what to do instead.
    """
    reason = _refusal(tensor) or (_shard_refusal(model, tensor) if is_dtensor(tensor) else None)
    if reason is None and any(isinstance(module, nn.parallel.DistributedDataParallel) for module in model.modules()):
        reason = "is under DistributedDataParallel, whose buckets have fixed sizes: change it before it is wrapped"
    if reason is not None:
        raise PlanError(f"{name!r} cannot change its size: it {reason}")


def _refusal(tensor: torch.Tensor) -> str | None:
    if tensor.is_meta or not tensor.numel():
        return "has no values (it is on the meta device or empty): load or materialize the model first"
    if is_dtensor(tensor):
        reason = refusal(tensor)
        if reason is not None:
            return reason
    elif is_wrapper(tensor) or tensor.is_quantized or tensor.layout is not torch.strided:
        return f"is a {type(tensor).__name__} that is not dense: change the model before it is quantised"
    if not tensor.is_floating_point():
        return f"is of {tensor.dtype}, which is no float: change the model before it is quantised"
    return None


def _shard_refusal(model: nn.Module, tensor: DTensor) -> str | None:
    import torch.distributed as dist

    if tensor.device_mesh.get_coordinate() is None:
        return "is sharded over ranks of which this is none: call this on those ranks alone"
    if any(dist.get_backend(group) == "fake" for group in tensor.device_mesh.get_all_groups()):
        return "is sharded over a fake process group, whose other ranks hold no values"
    owner = owner_of(model, tensor)
    if owner is not None and not is_known(owner):
        return (
            f"is under a fully_shard that fanin does not know (torch {torch.__version__}): change the model before "
            "fully_shard"
        )
    if owner is not None and has_gradients_in_flight(model, owner):
        return "has gradients that FSDP2 has not reduced yet: end the accumulation (a backward pass with sync) first"
    return None
