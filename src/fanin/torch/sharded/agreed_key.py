"""One number for all processes that hold parts of a tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor


def agreed_key(tensor: DTensor, key: int) -> int:
    """The key that the first process of the tensor's mesh has; every process of the mesh calls this.

    Generators that were seeded differently, or have moved by different numbers of draws, would give every process
    shards of another tensor.
    """
    import torch.distributed as dist

    mesh, place = tensor.device_mesh, tensor.device_mesh.get_coordinate()
    if place is None:
        return key
    word = torch.tensor([key - 2**63], dtype=torch.int64, device=mesh.device_type)
    for axis in range(mesh.ndim):
        first = mesh.mesh[(*place[:axis], 0, *place[axis + 1 :])]
        dist.broadcast(word, src=int(first), group=mesh.get_group(axis))
    return int(word) + 2**63
