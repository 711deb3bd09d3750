"""DTensors of another shape: the same mesh and placements, over other memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from fanin.torch.sharded.dtensor import local_of, local_shape

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor


def reshaped(tensor: DTensor, shape: Sequence[int]) -> DTensor:
    """A DTensor over zeros of another shape, of the mesh and placements of `tensor`."""
    return over(tensor, shape, local_of(tensor).new_zeros(local_shape(tensor, tuple(shape))))


def over(tensor: DTensor, shape: Sequence[int], local: torch.Tensor) -> DTensor:
    """A DTensor of the mesh and placements of `tensor`, but of another shape, `local` being the part held here."""
    from torch.distributed.tensor import DTensor

    return DTensor(local, of_shape(tensor._spec, shape), requires_grad=False)  # pyright: ignore


def of_shape(spec: Any, shape: Sequence[int]) -> Any:
    """A DTensor's spec for another shape, in rows."""
    from torch.distributed.tensor._dtensor_spec import TensorMeta

    size = torch.Size(shape)
    rows = torch.empty(size, device="meta").stride()
    return replace(spec, tensor_meta=TensorMeta(size, rows, spec.tensor_meta.dtype))
