"""One draw: a key from a torch generator, then our stream into the tensor; or torch itself where we cannot write."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Generator, Tensor
from torch._C._functorch import is_functorch_wrapped_tensor
from torch._guards import active_fake_mode
from torch._subclasses.fake_tensor import FakeTensor

from fanin.errors import PlanError
from fanin.initializers.base import Initializer
from fanin.random.stream import Region, Stream
from fanin.torch.fill import NATIVE, fill, fill_pieces
from fanin.torch.pieces import Piece, pieces_of
from fanin.torch.sharded.agreed_key import agreed_key
from fanin.torch.sharded.dtensor import is_dtensor, local_of
from fanin.torch.sharded.zero3 import is_gathered, is_placeholder
from fanin.torch.sharded.zero3 import shape_of as whole_shape
from fanin.torch.wrappers import is_wrapper

_COMPLEX = frozenset({torch.complex64, torch.complex128})


def draw(
    tensor: Tensor, law: Initializer | None, generator: Generator | None, otherwise: Callable[[], Tensor]
) -> Tensor:
    """Fill `tensor` from `law` under one 64-bit number of the generator, and return it.

    `otherwise` is torch's own way, taken outside autograd where there is no law (numbers that torch refuses
    or has its own meaning for, so that it says so itself) or no memory we can write. Of a DTensor each process writes
    its shard, under the key of the mesh's first process.

    Raises:
        PlanError: a DTensor with a placement that holds no values (Partial), or a tensor that ZeRO-3 has partitioned.
    """
    check_whole(tensor)
    if law is None or not is_drawable(tensor, generator):
        with torch.no_grad(), _fake_mode_of(tensor):
            return otherwise()
    key = draw_key(tensor.device, generator)
    if is_dtensor(tensor):
        stream = Stream(agreed_key(tensor, key))
        fill_pieces([_real_parts(piece) for piece in pieces_of(tensor)], law, stream, threads=torch.get_num_threads())
        return tensor
    target = torch.view_as_real(tensor.detach()) if tensor.dtype in _COMPLEX else tensor
    fill(target, law, Stream(key), threads=torch.get_num_threads())
    return tensor


def draw_key(device: torch.device, generator: Generator | None) -> int:
    """One number from 0 to 2⁶⁴ − 1 of `generator`, or of the device's default generator.

    >>> g = Generator().manual_seed(0)
    >>> draw_key(torch.device("cpu"), g) == draw_key(torch.device("cpu"), g.manual_seed(0))
    True
    """
    word = torch.empty((), dtype=torch.int64, device=device)
    return int(word.random_(-(2**63), None, generator=generator).item()) & (2**64 - 1)


def is_drawable(tensor: Tensor, generator: Generator | None) -> bool:
    """Whether the stream can write this tensor: it has values, floats, memory of its own, and a fitting generator."""
    return (
        not torch.compiler.is_compiling()
        and (tensor.dtype in NATIVE or tensor.dtype in _COMPLEX)
        and tensor.numel() > 0
        and tensor.layout is torch.strided
        and _has_memory(tensor)
        and _fits(generator, tensor)
        and not _overlaps_itself(tensor)
    )


def check_whole(tensor: Tensor) -> None:
    """Raise if DeepSpeed's ZeRO-3 has left a placeholder of size 0, into which torch's functions write nothing.

    Raises:
        PlanError: what to do instead.
    """
    if is_placeholder(tensor) and not is_gathered(tensor):
        raise PlanError(
            f"this parameter of shape {whole_shape(tensor)} is partitioned by DeepSpeed ZeRO-3 and has no values here: "
            "call this inside deepspeed.zero.GatheredParameters, or use fanin.materialize or fanin.module_init"
        )


def rank_of(tensor: Tensor) -> int:
    """The number of dimensions; raises as `check_whole`."""
    check_whole(tensor)
    return tensor.ndimension()


def is_empty(tensor: Tensor) -> bool:
    """Whether it has no elements; raises as `check_whole`."""
    check_whole(tensor)
    return 0 in tensor.shape


def _real_parts(piece: Piece) -> Piece:
    """The real and imaginary parts of a complex piece, as a last dimension; a real piece as it is."""
    if piece.memory.dtype not in _COMPLEX:
        return piece
    part = piece.region
    region = Region((*part.shape, 2), (*part.start, 0), (*part.size, 2))
    return Piece(region, torch.view_as_real(piece.memory))


def _has_memory(tensor: Tensor) -> bool:
    if is_dtensor(tensor):
        return _has_memory(local_of(tensor))
    return not (
        tensor.is_meta or is_wrapper(tensor) or _is_transformed(tensor) or _under_fake_mode() or _answers_itself(tensor)
    )


def _fits(generator: Any, tensor: Tensor) -> bool:
    return generator is None or (isinstance(generator, Generator) and generator.device.type == tensor.device.type)


def _is_transformed(tensor: Tensor) -> bool:
    """Inside vmap, grad or functionalize, where the tensor stands for others."""
    return is_functorch_wrapped_tensor(tensor)


def _fake_mode_of(tensor: Tensor) -> AbstractContextManager[Any]:
    """Outside the mode that made a fake tensor, torch's operations on it need that mode again."""
    return tensor.fake_mode if isinstance(tensor, FakeTensor) and active_fake_mode() is None else nullcontext()


def _under_fake_mode() -> bool:
    if not torch._C._len_torch_dispatch_stack():  # pyright: ignore[reportPrivateUsage]
        return False
    return active_fake_mode() is not None


def _answers_itself(tensor: Tensor) -> bool:
    """A subclass with its own `__torch_function__` that is not switched off: it wants to see torch's operations."""
    kind = type(tensor)
    if kind is Tensor or kind is torch.nn.Parameter:
        return False
    own = kind.__torch_function__.__func__ is not Tensor.__torch_function__.__func__
    return own and torch._C._is_torch_function_enabled()  # pyright: ignore[reportPrivateUsage]


def _overlaps_itself(tensor: Tensor) -> bool:
    """Expanded: several elements share one memory place, which torch refuses to write."""
    return not tensor.is_contiguous() and any(
        step == 0 and count > 1 for step, count in zip(tensor.stride(), tensor.shape, strict=True)
    )
