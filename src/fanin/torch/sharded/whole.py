"""A DTensor brought together: all of its values in every process of its mesh."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from fanin.torch.sharded.dtensor import held, local_of

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor

_AT_ONCE = 1 << 28  # bytes of one exchange


def room_for(tensor: DTensor) -> torch.Tensor:
    """Zeros of the shape of the whole tensor, where its process groups can exchange them."""
    local, mesh = local_of(tensor), tensor.device_mesh
    can = local.device.type == mesh.device_type or all("cpu" in _kinds(group) for group in mesh.get_all_groups())
    return torch.zeros(tuple(tensor.shape), dtype=local.dtype, device=local.device if can else mesh.device_type)


def gather(tensor: DTensor, room: torch.Tensor) -> None:
    """Put all values into `room`, bit for bit; every process of the mesh calls this at the same time.

    Each process adds the bytes that it holds to zeros, along the mesh dimensions that shard the tensor. Copies
    (`Replicate`) are taken for equal: each process has its own.
    """
    import torch.distributed as dist

    for region, memory in held(tensor):
        part = room
        for axis, (start, count) in enumerate(zip(region.start, region.size, strict=True)):
            part = part.narrow(axis, start, count)
        part.copy_(memory)
    mesh, data = tensor.device_mesh, room.flatten().view(torch.uint8)
    for axis, placement in enumerate(tensor.placements):
        if not placement.is_replicate() and mesh.size(axis) > 1:
            for part in data.split(_AT_ONCE):
                dist.all_reduce(part, group=mesh.get_group(axis))


def _kinds(group: Any) -> list[str]:
    """The kinds of devices between which a group exchanges tensors."""
    import torch.distributed as dist

    return [pair.partition(":")[0] for pair in dist.get_backend_config(group).split(",")]
