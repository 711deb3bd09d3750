"""The bridge from an initializer to a torch tensor: values are computed on the CPU and land in the tensor in place."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from fanin.errors import ArgumentError
from fanin.initializers.base import Initializer, Storage
from fanin.initializers.constant import Constant
from fanin.random.stream import Region, Stream
from fanin.torch.wrappers import is_wrapper

NATIVE = frozenset({torch.float32, torch.float64, torch.float16, torch.bfloat16})
"""Dtypes that initializers compute themselves, each value rounded once."""

_PIECE = 1 << 24


def fill(
    tensor: Tensor,
    initializer: Initializer,
    stream: Stream,
    *,
    region: Region | None = None,
    threads: int | None = None,
) -> None:
    """Write `initializer`'s values into `tensor`, in place and outside autograd.

    Contiguous CPU tensors of float32, float64, float16 and bfloat16 are written where they lie; any other
    tensor (strided, on another device, float8) through a temporary on the CPU, 2²⁴ values at a time where the
    initializer is elementwise. Dtypes that hold no random values (integers, bool, complex) take a `Constant`
    only. The version counter moves, as after any in-place operation of torch.

    Args:
        tensor: any tensor with memory; its shape is `region.size`.
        initializer: the law; `stream`: the random numbers of the logical tensor.
        region: which part of the logical tensor `tensor` holds; by default all of it.
        threads: how many to use; by default `fanin.random.default_threads()`.

    Raises:
        ArgumentError: the tensor has no memory (meta, fake), another shape than the region, or a dtype that
            cannot hold what the initializer draws.

    >>> from fanin.initializers import Normal
    >>> weight = torch.empty(3, 2, dtype=torch.bfloat16)
    >>> fill(weight, Normal(std=0.02), Stream.named(0, "fc.weight"))
    >>> float(weight.abs().max()) < 0.2
    True
    """
    part = Region.whole(tuple(tensor.shape)) if region is None else region
    _check(tensor, part)
    if not part.numel:
        return
    if is_direct(tensor):
        initializer.fill(as_array(tensor), stream, part, threads=threads)
        torch.autograd.graph.increment_version(tensor)
        return
    with torch.no_grad():
        if tensor.is_floating_point():
            _fill_through_host(tensor, initializer, stream, part, threads)
        else:
            tensor.fill_(_constant(tensor, initializer))


def is_direct(tensor: Tensor) -> bool:
    """Whether NumPy can write this tensor's memory in place, in row-major order.

    >>> is_direct(torch.empty(2, 3)), is_direct(torch.empty(2, 3).T), is_direct(torch.empty(2, dtype=torch.int32))
    (True, False, False)
    """
    return (
        tensor.dtype in NATIVE
        and tensor.device.type == "cpu"
        and tensor.layout is torch.strided
        and tensor.is_contiguous()
        and not is_wrapper(tensor)
        and not tensor.is_neg()
        and (not tensor.is_inference() or torch.is_inference_mode_enabled())
    )


def as_array(tensor: Tensor) -> Storage:
    """The memory of a direct tensor as an array; bfloat16 as its bits in uint16.

    >>> as_array(torch.ones(2, dtype=torch.bfloat16))
    array([16256, 16256], dtype=uint16)
    """
    bare = tensor.detach()
    return (bare.view(torch.uint16) if bare.dtype is torch.bfloat16 else bare).numpy()


def _check(tensor: Tensor, part: Region) -> None:
    if tensor.is_meta or isinstance(tensor, FakeTensor):
        raise ArgumentError(
            f"cannot fill a {'meta' if tensor.is_meta else 'fake'} tensor of shape {tuple(tensor.shape)}: "
            "it has no memory; materialize it first"
        )
    if tuple(tensor.shape) != part.size:
        raise ArgumentError(f"the tensor has shape {tuple(tensor.shape)}, but its region has size {part.size}")


def _fill_through_host(
    tensor: Tensor, initializer: Initializer, stream: Stream, part: Region, threads: int | None
) -> None:
    dtype = tensor.dtype if tensor.dtype in NATIVE else torch.float32
    whole = not initializer.elementwise
    for rows, piece in _whole(part) if whole else _pieces(part):
        host = torch.empty(piece.size, dtype=dtype, device="cpu")
        initializer.fill(as_array(host), stream, piece, threads=threads)
        (tensor if rows is None else tensor[rows]).copy_(host)


def _whole(part: Region) -> Iterator[tuple[slice | None, Region]]:
    yield None, part


def _pieces(part: Region) -> Iterator[tuple[slice | None, Region]]:
    """`part` in runs of whole rows, each of about `_PIECE` values, so that the temporary stays small."""
    if part.numel <= _PIECE:
        yield None, part
        return
    step = max(1, _PIECE // prod(part.size[1:]))
    for first in range(0, part.size[0], step):
        count = min(step, part.size[0] - first)
        start = (part.start[0] + first, *part.start[1:])
        yield slice(first, first + count), Region(part.shape, start, (count, *part.size[1:]))


def _constant(tensor: Tensor, initializer: Initializer) -> float:
    if not isinstance(initializer, Constant):
        raise ArgumentError(
            f"cannot fill a tensor of dtype {tensor.dtype} with {initializer.describe()}: only constants fit this dtype"
        )
    return initializer.value
