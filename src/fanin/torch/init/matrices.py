"""Matrices with structure: orthogonal, delta-orthogonal, sparse, row-normalised."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from fanin.errors import ArgumentError
from fanin.initializers import DeltaOrthogonal, Initializer, Orthogonal, RowNormalized, Sparse
from fanin.torch.init.drawing import draw, rank_of
from fanin.torch.init.laws import number


def orthogonal_(tensor: Tensor, gain: float = 1, generator: Generator | None = None) -> Tensor:
    """Fill [out, *rest], read as a matrix [out, ∏rest], with `gain` times a Haar-random orthogonal matrix, in place.

    The Gram matrix of the smaller side is gain²·I. float16 and bfloat16 work too (torch fails there): computed
    in float32 and rounded once.

    Args:
        tensor: at least two dimensions, floating point.
        gain: factor on the matrix.
        generator: the torch generator that keys the draw; the device's default one if None.

    Raises:
        ValueError: fewer than two dimensions.
        NotImplementedError: a complex tensor, as torch says it.

    Source: Saxe et al. 2013 (arXiv 1312.6120); Haar law by Mezzadri 2007; `torch.nn.init.orthogonal_`.

    >>> w = orthogonal_(torch.empty(3, 5), gain=2.0)
    >>> bool(torch.allclose(w @ w.T, 4 * torch.eye(3), atol=1e-5))
    True
    """
    if rank_of(tensor) < 2:
        raise ValueError("Only tensors with 2 or more dimensions are supported")
    real = math.isfinite(number(gain)) and not tensor.dtype.is_complex
    law = Orthogonal(number(gain)) if real else None
    return draw(tensor, law, generator, lambda: torch.nn.init.orthogonal_(tensor, gain, generator))


def delta_orthogonal_(tensor: Tensor, gain: float = 1.0, groups: int = 1, generator: Generator | None = None) -> Tensor:
    """Fill a convolution [out, in/groups, *k] with an orthogonal matrix at the centre tap and zero elsewhere, in place.

    With out ≥ in, stride 1 and `padding="same"` the convolution keeps the norm of its input, times `gain`.

    Args:
        tensor: at least two dimensions, floating point.
        gain: factor on the matrix.
        groups: groups of the convolution; each gets its own matrix.
        generator: the torch generator that keys the draw; the device's default one if None.

    Raises:
        ValueError: fewer than two dimensions.
        ArgumentError: gain not finite, or groups that do not divide the outputs.

    Source: Xiao et al. 2018 (arXiv 1806.05393), algorithm 2; not in torch.

    >>> x, w = torch.randn(1, 8, 16), delta_orthogonal_(torch.empty(8, 8, 3))
    >>> round(float(torch.nn.functional.conv1d(x, w, padding=1).norm() / x.norm()), 5)
    1.0
    """
    if rank_of(tensor) < 2:
        raise ValueError("Only tensors with 2 or more dimensions are supported")
    if groups < 1 or tensor.size(0) % groups:
        raise ArgumentError(
            f"{groups} groups do not divide the {tensor.size(0)} outputs of shape {tuple(tensor.shape)}"
        )
    law = DeltaOrthogonal(gain, groups=groups)
    return draw(tensor, _if_real(law, tensor), generator, lambda: _delta_through_torch(tensor, law, generator))


def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Generator | None = None) -> Tensor:
    """Fill a matrix with values from N(0, std²), ceil(sparsity·rows) of each column zero at random places, in place.

    Values and places both come from `generator` (torch takes the places from the global one).

    Args:
        tensor: [rows, columns], floating point.
        sparsity: fraction of zeros in each column, from 0 to 1.
        std: standard deviation of the other values.
        generator: the torch generator that keys the draw; the device's default one if None.

    Raises:
        ValueError: not two dimensions, or sparsity outside [0, 1].
        RuntimeError: std negative or NaN, as torch says it.

    Source: Martens 2010, "Deep learning via Hessian-free optimization", section 5; `torch.nn.init.sparse_`.

    >>> (sparse_(torch.empty(10, 3), sparsity=0.3) == 0).sum(dim=0)
    tensor([3, 3, 3])
    """
    if rank_of(tensor) != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    if not 0 <= sparsity <= 1:
        raise ArgumentError(f"sparsity must be from 0 to 1, got {sparsity}")
    scale = number(std)
    law = Sparse(sparsity, scale) if 0 <= scale < math.inf else None
    return draw(
        tensor, _if_real(law, tensor), generator, lambda: torch.nn.init.sparse_(tensor, sparsity, std, generator)
    )


def row_normalized_(tensor: Tensor, std: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill [out, *rest] so that each output's values are uniform on the sphere of radius `std`, in place ("normc").

    Args:
        tensor: at least two dimensions, floating point.
        std: the L2 norm of every row; 0.01 is common for a policy head.
        generator: the torch generator that keys the draw; the device's default one if None.

    Raises:
        ValueError: fewer than two dimensions.
        ArgumentError: std negative or not finite.

    Source: `normc_initializer` of OpenAI Baselines and RLlib; not in torch.

    >>> row_normalized_(torch.empty(2, 100), std=0.5).norm(dim=1)
    tensor([0.5000, 0.5000])
    """
    if rank_of(tensor) < 2:
        raise ValueError("Only tensors with 2 or more dimensions are supported")
    law = RowNormalized(std)
    return draw(tensor, _if_real(law, tensor), generator, lambda: _rows_through_torch(tensor, std, generator))


def _if_real(law: Initializer | None, tensor: Tensor) -> Initializer | None:
    return None if tensor.dtype.is_complex else law


def _delta_through_torch(tensor: Tensor, law: DeltaOrthogonal, generator: Generator | None) -> Tensor:
    tensor.zero_()
    centre = tuple((size - 1) // 2 for size in tensor.shape[2:])
    for block in tensor.chunk(law.groups) if tensor.numel() else ():
        torch.nn.init.orthogonal_(block[(slice(None), slice(None), *centre)], law.gain, generator)
    return tensor


def _rows_through_torch(tensor: Tensor, std: float, generator: Generator | None) -> Tensor:
    tensor.normal_(generator=generator)
    others = tuple(range(1, tensor.ndimension()))
    return tensor.mul_(std / torch.linalg.vector_norm(tensor, dim=others, keepdim=True))
