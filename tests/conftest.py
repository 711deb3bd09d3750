"""What tests of several folders share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

_NUMBERS = count()


@pytest.fixture(scope="session")
def world() -> Callable[..., AbstractContextManager[DeviceMesh]]:
    """world(rank, mesh_shape, size=None): this process as one of many ranks, and a mesh of the first of them.

    The others are torch's fake process group, whose collectives move nothing. The mesh's dimensions have names that no
    other mesh has: torch remembers meshes by name, with the place of the rank that made them.
    """
    return _world


@contextmanager
def _world(rank: int, shape: tuple[int, ...], size: int | None = None) -> Iterator[DeviceMesh]:
    import torch
    import torch.distributed as dist
    from torch.distributed.device_mesh import DeviceMesh
    from torch.testing._internal.distributed.fake_pg import FakeStore

    ranks = torch.arange(torch.Size(shape).numel()).view(shape)
    dist.init_process_group("fake", rank=rank, world_size=size or ranks.numel(), store=FakeStore())
    try:
        yield DeviceMesh("cpu", ranks, mesh_dim_names=tuple(f"d{next(_NUMBERS)}" for _ in shape))
    finally:
        dist.destroy_process_group()
