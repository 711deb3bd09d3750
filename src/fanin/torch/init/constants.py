"""Fillings without chance: constants, identity, dirac. They draw nothing from any generator."""

from __future__ import annotations

import torch
from torch import Tensor

from fanin.torch.init.drawing import check_whole, rank_of
from fanin.torch.pieces import pieces_of
from fanin.torch.sharded.dtensor import is_dtensor


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill with `val`, in place; any dtype.

    Raises:
        TypeError, RuntimeError: `val` is no number, or does not fit the dtype, as torch says it.

    Source: `torch.nn.init.constant_`.

    >>> constant_(torch.empty(3), 0.5)
    tensor([0.5000, 0.5000, 0.5000])
    """
    if torch.overrides.has_torch_function_variadic(tensor):
        return torch.overrides.handle_torch_function(constant_, (tensor,), tensor=tensor, val=val)
    check_whole(tensor)
    with torch.no_grad():
        return tensor.fill_(val)


def ones_(tensor: Tensor) -> Tensor:
    """Fill with 1, in place; any dtype. Source: `torch.nn.init.ones_`.

    >>> ones_(torch.empty(3))
    tensor([1., 1., 1.])
    """
    check_whole(tensor)
    with torch.no_grad():
        return tensor.fill_(1.0)


def zeros_(tensor: Tensor) -> Tensor:
    """Fill with 0, in place; any dtype. Source: `torch.nn.init.zeros_`.

    >>> zeros_(torch.empty(3))
    tensor([0., 0., 0.])
    """
    check_whole(tensor)
    with torch.no_grad():
        return tensor.zero_()


def eye_(tensor: Tensor) -> Tensor:
    """Fill a matrix with the identity, W_ij = δ_ij, in place: outputs repeat inputs as far as both reach.

    Raises:
        ValueError: not two dimensions.

    Source: `torch.nn.init.eye_`.

    >>> eye_(torch.empty(2, 3))
    tensor([[1., 0., 0.],
            [0., 1., 0.]])
    """
    if rank_of(tensor) != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    if is_dtensor(tensor):
        diagonal = torch.arange(min(tensor.shape))
        return _set_ones(tensor, torch.stack([diagonal, diagonal], 1))
    with torch.no_grad():
        torch.eye(*tensor.shape, out=tensor, device=tensor.device, requires_grad=tensor.requires_grad)
    return tensor


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """Fill a convolution kernel so that channel i of each group passes unchanged, in place.

    The 1 stands at tap k//2. For odd k that is the centre, and with `padding="same"` the convolution returns its
    input; for even k the signal moves by one (`fanin.initializers.Dirac` has the right tap for both).

    Args:
        tensor: [out, in/groups, *k] with one to three kernel dimensions, any dtype.
        groups: groups of the convolution.

    Raises:
        ValueError: another number of dimensions, or `groups` does not divide the outputs.

    Source: `torch.nn.init.dirac_`.

    >>> x = torch.randn(1, 4, 9)
    >>> torch.equal(torch.nn.functional.conv1d(x, dirac_(torch.empty(4, 2, 3), groups=2), padding=1, groups=2), x)
    True
    """
    if rank_of(tensor) not in (3, 4, 5):
        raise ValueError("Only tensors with 3, 4, or 5 dimensions are supported")
    if tensor.size(0) % groups != 0:
        raise ValueError("dim 0 must be divisible by groups")
    if is_dtensor(tensor):
        return _set_ones(tensor, torch.stack([index.cpu() for index in _taps(tensor, groups)], 1))
    if not tensor.is_meta:
        with torch.no_grad():
            tensor.zero_()
            tensor[_taps(tensor, groups)] = 1.0
    return tensor


def identity_(tensor: Tensor, gain: float = 1.0, groups: int = 1) -> Tensor:
    """Fill so that outputs = gain·inputs as far as both reach, in place: a matrix, or a convolution's tap k//2.

    Args:
        tensor: [out, in], or [out, in/groups, *k] with one to three kernel dimensions.
        gain: factor; 1 gives `eye_` and `dirac_`.
        groups: groups of the convolution; 1 for a matrix.

    Raises:
        ValueError: another number of dimensions, or `groups` does not divide the outputs.

    Source: Le, Jaitly & Hinton 2015 (arXiv 1504.00941) for recurrent matrices; not in torch.

    >>> identity_(torch.empty(2, 3), gain=0.5)
    tensor([[0.5000, 0.0000, 0.0000],
            [0.0000, 0.5000, 0.0000]])
    """
    if rank_of(tensor) == 2 and groups == 1:
        eye_(tensor)
    else:
        dirac_(tensor, groups)
    with torch.no_grad():
        return tensor if gain == 1 else tensor.mul_(gain)


def _taps(tensor: Tensor, groups: int) -> tuple[Tensor, ...]:
    """The indices of the ones, an index tensor for each dimension."""
    per_group = tensor.size(0) // groups
    passed = max(0, min(per_group, tensor.size(1)))
    group, channel = torch.arange(max(0, groups), device=tensor.device), torch.arange(passed, device=tensor.device)
    rows = (group[:, None] * per_group + channel).flatten()
    centre = (torch.full_like(rows, size // 2) for size in tensor.shape[2:])
    return (rows, channel.repeat(max(0, groups)), *centre)


def _set_ones(tensor: Tensor, places: Tensor) -> Tensor:
    """Zeros, and ones at `places` ([count, rank], of the whole tensor), in what this process holds of a DTensor."""
    if tensor.is_meta:
        return tensor
    with torch.no_grad():
        for piece in pieces_of(tensor):
            start, size = torch.tensor(piece.region.start), torch.tensor(piece.region.size)
            inside = places[((places >= start) & (places < start + size)).all(1)] - start
            piece.memory.zero_()
            piece.memory[tuple(inside.to(piece.memory.device).T)] = 1.0
    return tensor
