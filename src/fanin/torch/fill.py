"""The bridge from an initializer to a torch tensor, in place: where a kernel can write, or by `fanin.torch.device`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from fanin.errors import ArgumentError
from fanin.initializers.base import Initializer
from fanin.initializers.constant import Constant
from fanin.random.stream import Region, Stream
from fanin.torch.device.arrays import NATIVE as NATIVE
from fanin.torch.device.arrays import as_array as as_array
from fanin.torch.device.choice import fill_elsewhere
from fanin.torch.pieces import Piece, is_part, pieces_of
from fanin.torch.wrappers import is_wrapper


def fill(
    tensor: Tensor,
    initializer: Initializer,
    stream: Stream,
    *,
    region: Region | None = None,
    threads: int | None = None,
) -> None:
    """Write `initializer`'s values into `tensor`, in place and outside autograd.

    Contiguous CPU tensors of float32, float64, float16 and bfloat16 are written where they lie; any other tensor
    (strided, on another device, float8) by `fanin.torch.device`: through blocks of 32 MB on the host where the
    initializer is elementwise, or by the device itself where it gives the same bits. Dtypes that hold no random values
    (integers, bool, complex) take a `Constant` only. The version counter moves, as after any in-place operation of
    torch. Of a DTensor, and of a parameter that ZeRO-3 has partitioned, each process writes what it holds, with the
    bits that the whole tensor would have there.

    Args:
        tensor: any tensor with memory; its shape is `region.size`.
        initializer: the law; `stream`: the random numbers of the logical tensor.
        region: which part of the logical tensor `tensor` holds; by default all of it.
        threads: how many to use; by default `fanin.random.default_threads()`.

    Raises:
        ArgumentError: the tensor has no memory (meta, fake), another shape than the region, or a dtype that
            cannot hold what the initializer draws.
        PlanError: a DTensor or partitioned parameter that cannot be written (`fanin.torch.pieces.refusal`).

    >>> from fanin.initializers import Normal
    >>> weight = torch.empty(3, 2, dtype=torch.bfloat16)
    >>> fill(weight, Normal(std=0.02), Stream.named(0, "fc.weight"))
    >>> float(weight.abs().max()) < 0.2
    True
    """
    if region is None and is_part(tensor):
        _check_memory(tensor)
        fill_pieces(pieces_of(tensor), initializer, stream, threads=threads)
        return
    _check_memory(tensor)
    part = _whole(tensor.shape) if region is None else region
    _check_shape(tensor, part)
    if not part.numel:
        return
    if is_direct(tensor):
        initializer.fill(as_array(tensor), stream, part, threads=threads)
        torch.autograd.graph.increment_version(tensor)
        return
    with torch.no_grad():
        if tensor.is_floating_point():
            fill_elsewhere(tensor, initializer, stream, part, threads)
        else:
            tensor.fill_(_constant(tensor, initializer))


def fill_pieces(
    pieces: Sequence[Piece], initializer: Initializer, stream: Stream, *, threads: int | None = None
) -> None:
    """Write `initializer`'s values into the pieces of one tensor; what they have in common is computed once.

    Args:
        pieces: parts of one logical tensor, disjoint.
        initializer, stream, threads: as for `fill`.

    Raises:
        ArgumentError: as `fill`.

    >>> from fanin.initializers import Orthogonal
    >>> pieces = [Piece(Region((4, 4), (row, 0), (2, 4)), torch.empty(2, 4)) for row in (0, 2)]
    >>> fill_pieces(pieces, Orthogonal(), Stream.named(0, "w"))
    >>> w = torch.cat([piece.memory for piece in pieces])
    >>> torch.allclose(w @ w.T, torch.eye(4), atol=1e-6)
    True
    """
    if initializer.elementwise or len(pieces) < 2 or not pieces[0].memory.is_floating_point():
        for piece in pieces:
            fill(piece.memory, initializer, stream, region=piece.region, threads=threads)
        return
    hosts = [_host(piece.memory) for piece in pieces]
    arrays = [as_array(host) for host in hosts]
    initializer.fill_all(arrays, stream, [piece.region for piece in pieces], threads=threads)
    with torch.no_grad():
        for piece, host in zip(pieces, hosts, strict=True):
            if host is piece.memory:
                torch.autograd.graph.increment_version(host)
            else:
                piece.memory.copy_(host)


def is_direct(tensor: Tensor) -> bool:
    """Whether NumPy can write this tensor's memory in place, in row-major order.

    >>> is_direct(torch.empty(2, 3)), is_direct(torch.empty(2, 3).T), is_direct(torch.empty(2, dtype=torch.int32))
    (True, False, False)
    """
    return (
        tensor.dtype in NATIVE
        and tensor.is_cpu
        and tensor.layout is torch.strided
        and tensor.is_contiguous()
        and not is_wrapper(tensor)
        and not tensor.is_neg()
        and (not tensor.is_inference() or torch.is_inference_mode_enabled())
    )


def _host(tensor: Tensor) -> Tensor:
    """The tensor itself where NumPy can write it, else memory for its values on the CPU."""
    if is_direct(tensor):
        return tensor
    return torch.empty(tensor.shape, dtype=tensor.dtype if tensor.dtype in NATIVE else torch.float32, device="cpu")


@lru_cache(maxsize=256)  # a model has many tensors of few shapes
def _whole(shape: tuple[int, ...]) -> Region:
    return Region.whole(shape)


def _check_memory(tensor: Tensor) -> None:
    if tensor.is_meta or isinstance(tensor, FakeTensor):
        raise ArgumentError(
            f"cannot fill a {'meta' if tensor.is_meta else 'fake'} tensor of shape {tuple(tensor.shape)}: "
            "it has no memory; materialize it first"
        )


def _check_shape(tensor: Tensor, part: Region) -> None:
    if tuple(tensor.shape) != part.size:
        raise ArgumentError(f"the tensor has shape {tuple(tensor.shape)}, but its region has size {part.size}")


def _constant(tensor: Tensor, initializer: Initializer) -> float:
    if not isinstance(initializer, Constant):
        raise ArgumentError(
            f"cannot fill a tensor of dtype {tensor.dtype} with {initializer.describe()}: only constants fit this dtype"
        )
    return initializer.value
