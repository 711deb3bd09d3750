"""Memory for stored tensors of another shape, plain or sharded, and rows written into it."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import nn

from fanin.errors import PlanError
from fanin.torch.agreement import Team
from fanin.torch.pieces import pieces_of
from fanin.torch.sharded.dtensor import is_dtensor, like, local_of, refusal
from fanin.torch.sharded.refitted import Refitted, refitted
from fanin.torch.sharded.whole import gather, room_for
from fanin.torch.tensors import identity, registrations


def resized(model: nn.Module, name: str, tensor: torch.Tensor, shape: Sequence[int]) -> Refitted:
    """Zeros of another shape for the stored tensor `tensor` of `model`, called `name`; sharded as it is sharded.

    Raises:
        PlanError: it cannot be sharded so in that shape.
    """
    if not is_dtensor(tensor):
        return Refitted(torch.zeros(tuple(shape), dtype=tensor.dtype, device=tensor.device))
    fitting = refitted(model, name, tensor, shape)
    reason = refusal(fitting.values) if is_dtensor(fitting.values) else None
    if reason is not None:
        raise PlanError(f"{name!r} cannot change its size to {tuple(shape)}: it {reason}")
    return fitting


def lay(values: torch.Tensor, dim: int, first: int, rows: torch.Tensor) -> None:
    """Write `rows` into a tensor from index `first` of dimension `dim` on, as far as this process holds it.

    Args:
        values: a plain tensor or a DTensor.
        dim, first: where the rows go in the whole tensor.
        rows: whole along all other dimensions.
    """
    for piece in pieces_of(values):
        start, size = piece.region.start, piece.region.size
        begin, end = max(first, start[dim]), min(first + rows.shape[dim], start[dim] + size[dim])
        if begin < end:
            part = rows.narrow(dim, begin - first, end - begin)
            for axis in range(part.dim()):
                if axis != dim:
                    part = part.narrow(axis, start[axis], size[axis])
            piece.memory.narrow(dim, begin - start[dim], end - begin).copy_(part)


def whole_of(tensor: torch.Tensor, team: Team) -> torch.Tensor:
    """All values of a stored tensor; of a DTensor a copy, for which all ranks call this at the same time.

    Raises:
        PlanError: a rank was lost, or has no memory for it.
    """
    if not is_dtensor(tensor):
        return tensor.detach()
    room = team.decided(lambda: room_for(tensor))
    with _together(tensor, team):
        gather(tensor, room)
    return room


@contextmanager
def _together(tensor: torch.Tensor, team: Team) -> Generator[None]:
    try:
        yield
    except RuntimeError as error:
        cause = str(error).strip().partition("\n")[0]
        raise PlanError(
            f"rank {team.rank} could not exchange the shards of a tensor of shape {tuple(tensor.shape)} ({cause}): "
            "look at the first error of each rank"
        ) from error


def grown_grads(
    model: nn.Module, tensor: torch.Tensor, values: torch.Tensor, dim: int, team: Team
) -> dict[int, torch.Tensor]:
    """Gradients of the shape of `values` for all objects that `tensor` is in `model`, by their `id`: what was there,
    and 0 for what is new."""
    same = identity(tensor)
    objects = {id(entry.tensor): entry.tensor for entry in registrations(model) if identity(entry.tensor) == same}
    found: dict[int, torch.Tensor] = {}
    for key, each in objects.items():
        if each.grad is not None:
            whole = whole_of(_like_its_parameter(each, each.grad, team), team)
            found[key] = team.decided(partial(_grown, each.grad, whole, values, dim))
    return found


def _like_its_parameter(tensor: torch.Tensor, grad: torch.Tensor, team: Team) -> torch.Tensor:
    """The gradient, sharded as its parameter is: torch leaves that of a table under tensor parallelism otherwise."""
    if not is_dtensor(tensor) or not is_dtensor(grad) or grad.placements == tensor.placements:
        return grad
    with _together(grad, team):
        return grad.redistribute(tensor.device_mesh, tensor.placements)


def _grown(grad: torch.Tensor, whole: torch.Tensor, values: torch.Tensor, dim: int) -> torch.Tensor:
    if is_dtensor(grad) and is_dtensor(values):
        grown: torch.Tensor = like(values, torch.zeros_like(local_of(values)))
    else:
        grown = torch.zeros_like(values, dtype=grad.dtype)
    lay(grown, dim, 0, whole)
    return grown
