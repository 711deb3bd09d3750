"""Parameters that DeepSpeed's ZeRO-3 has partitioned: placeholders of size 0 with the process's run of the values.

What DeepSpeed keeps on a parameter (its runtime/zero/partition_parameters.py): `ds_shape` and `ds_numel` of the whole
tensor, `ds_status`, `ds_process_group`, and `ds_tensor`, in which process r of n has the elements r·p … r·p + p − 1 of
the flattened tensor, p = ceil(numel / n); what lies behind its end is padding.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

import torch
from torch import nn

from fanin.errors import PlanError
from fanin.random.stream import Region
from fanin.torch.sharded.flat_range import flat_range

_ELSEWHERE = "materialize inside deepspeed.zero.GatheredParameters, or before DeepSpeed takes the model"


def is_placeholder(tensor: torch.Tensor) -> bool:
    """Whether DeepSpeed manages this parameter."""
    return hasattr(tensor, "ds_id") and hasattr(tensor, "ds_shape")


def refuse_partitioned(model: nn.Module) -> None:
    """Raise if DeepSpeed manages a parameter of `model`: it keeps sizes and partitions that cannot change.

    Raises:
        PlanError: naming the first.
    """
    for name, parameter in model.named_parameters():
        if is_placeholder(parameter):
            raise PlanError(
                f"DeepSpeed's ZeRO-3 has partitioned {name!r} (shape {shape_of(parameter)}), and keeps its size: "
                "change the whole model before deepspeed.initialize, outside of deepspeed.zero.Init"
            )


def is_gathered(tensor: torch.Tensor) -> bool:
    """Whether all values of a managed parameter are here at the moment."""
    return _status(tensor) == "AVAILABLE"


def shape_of(tensor: torch.Tensor) -> tuple[int, ...]:
    """The shape of the whole tensor."""
    return tuple(_managed(tensor).ds_shape)


def held(tensor: torch.Tensor) -> Iterator[tuple[Region, torch.Tensor]]:
    """The rectangles of the whole tensor that this process holds, each with a view of its memory; none is empty.

    Raises:
        PlanError: the partition cannot be used; `refusal` says why.
    """
    reason = refusal(tensor)
    if reason is not None:
        raise PlanError(f"a tensor of shape {shape_of(tensor)} {reason}")
    if is_gathered(tensor):
        yield Region.whole(shape_of(tensor)), tensor
        return
    first, end = _run(tensor)
    memory = _managed(tensor).ds_tensor.data.view(-1)
    taken = 0
    for region in flat_range(shape_of(tensor), first, end):
        yield region, memory.narrow(0, taken, region.numel).view(region.size)
        taken += region.numel


def refusal(tensor: torch.Tensor) -> str | None:
    """Why no values can be written into the partition, or None if they can."""
    managed = _managed(tensor)
    status = _status(tensor)
    if status not in ("AVAILABLE", "NOT_AVAILABLE"):
        return f"is partitioned by DeepSpeed ZeRO-3 and {status or 'of unknown status'}: wait until it is not in flight"
    if status == "AVAILABLE" and tuple(tensor.shape) == shape_of(tensor):
        return None
    part = getattr(managed, "ds_tensor", None)
    why = _unusable(managed, part)
    if why is not None:
        return f"is partitioned by DeepSpeed ZeRO-3 (shape {shape_of(tensor)}), and {why}: {_ELSEWHERE}"
    return None


def store_gathered(tensor: torch.Tensor) -> None:
    """Copy this process's run of a gathered parameter into its partition, which DeepSpeed keeps when it lets go."""
    if not is_gathered(tensor):
        return
    part = getattr(_managed(tensor), "ds_tensor", None)
    if part is not None and _unusable(_managed(tensor), part) is None:
        first, end = _run(tensor)
        part.data.view(-1)[: end - first].copy_(tensor.data.reshape(-1)[first:end])


def _run(tensor: torch.Tensor) -> tuple[int, int]:
    managed = _managed(tensor)
    rank, _ = _place(managed)
    size, numel = int(managed.ds_tensor.ds_numel), prod(shape_of(tensor))
    return min(rank * size, numel), min((rank + 1) * size, numel)


def _unusable(managed: Any, part: Any) -> str | None:
    if part is None:
        return "has no partition here yet"
    status = getattr(getattr(part, "status", None), "name", "AVAILABLE")
    if status != "AVAILABLE" or _is_on_disk(part):
        return "its partition is offloaded to a disk"
    if hasattr(part, "ds_quant_scale"):
        return "its partition is quantised"
    if getattr(managed, "ds_secondary_tensor", None) is not None:
        return "it has a second partition (hpZ), which would keep the old values"
    place = _place(managed)
    if place is None:
        return "its process group is not known here"
    size, numel = -(-prod(managed.ds_shape) // place[1]), part.numel()
    if (int(part.ds_numel), numel) != (size, size):
        return (
            f"its partition has {numel} elements where {place[1]} processes would have {size} each: not the layout of "
            "ZeRO-3 that fanin knows"
        )
    return None


def _place(managed: Any) -> Any:
    """(rank, number of processes) in the group over which the parameter is partitioned; None where it is not known."""
    group = getattr(managed, "ds_process_group", None)
    if group is None or not torch.distributed.is_available() or not torch.distributed.is_initialized():
        return None
    rank = torch.distributed.get_rank(group)
    return None if rank < 0 else (rank, torch.distributed.get_world_size(group))


def _is_on_disk(part: Any) -> bool:
    place = getattr(part, "final_location", None)
    return str(getattr(place, "value", place)) == "nvme"


def _status(tensor: torch.Tensor) -> str:
    return getattr(getattr(tensor, "ds_status", None), "name", "")


def _managed(tensor: torch.Tensor) -> Any:
    return tensor
