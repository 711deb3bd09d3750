"""The operators that a plan may run: deterministic arithmetic on the program's own tensors, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import torch
from torch._ops import OpOverload

from fanin.errors import PlanError

_FACTORIES = """
    arange linspace logspace zeros ones full eye scalar_tensor zeros_like ones_like full_like new_zeros new_ones
    new_full tril_indices triu_indices hann_window hamming_window blackman_window bartlett_window kaiser_window
"""
_VIEWS = """
    as_strided view reshape _unsafe_view expand permute transpose t unsqueeze squeeze select slice diagonal alias
    detach unfold view_as_real view_as_complex real imag split split_with_sizes unbind chunk lift_fresh
    lift_fresh_copy _reshape_alias
"""
_COPIES = """
    copy copy_ clone _to_copy contiguous cat stack flip roll repeat repeat_interleave tril triu tril_ triu_ diag
    diag_embed diagonal_copy index select_scatter slice_scatter diagonal_scatter index_select gather scatter
    scatter_ scatter_add scatter_add_ index_put index_put_ index_add index_add_ index_fill index_fill_ index_copy
    index_copy_ masked_fill masked_fill_ where fill fill_ zero zero_ fill_diagonal_ constant_pad_nd one_hot
    embedding rot90 meshgrid broadcast_tensors narrow_copy take take_along_dim view_as_real_copy expand_copy
    permute_copy t_copy polar complex
"""
_ARITHMETIC = """
    add sub rsub mul div true_divide floor_divide remainder fmod pow float_power square sqrt rsqrt reciprocal neg
    abs sign sgn exp exp2 expm1 log log2 log10 log1p sin cos tan asin acos atan atan2 sinh cosh tanh asinh acosh
    atanh sinc erf erfc erfinv sigmoid logit softplus relu gelu silu hardtanh leaky_relu elu floor ceil round trunc
    frac clamp clamp_min clamp_max minimum maximum fmin fmax lerp addcmul addcdiv eq ne lt le gt ge logical_and
    logical_or logical_not logical_xor bitwise_and bitwise_or bitwise_not bitwise_xor bitwise_left_shift
    bitwise_right_shift isnan isinf isfinite isneginf isposinf nan_to_num deg2rad rad2deg heaviside hypot xlogy
    lgamma digamma i0 special_i0 special_bessel_j0 special_erfcx special_ndtri angle conj_physical _conj
"""
_REDUCTIONS = """
    sum mean prod amax amin max min std var norm linalg_vector_norm _weight_norm_interface argmax argmin any all
    cumsum cumprod logsumexp logcumsumexp softmax _softmax log_softmax _log_softmax sort argsort topk count_nonzero
    bincount histc searchsorted bucketize nonzero_static native_norm trace
"""
_MATRICES = """
    mm bmm addmm addbmm baddbmm mv addmv dot vdot ger outer addr einsum matmul linalg_qr linalg_lu
    linalg_lu_factor_ex linalg_lu_factor lu_unpack _linalg_svd linalg_svd _linalg_eigh linalg_eigh linalg_eigvalsh
    linalg_eig linalg_inv_ex linalg_inv _linalg_solve_ex linalg_solve_triangular linalg_cholesky_ex cholesky
    linalg_matrix_exp linalg_householder_product geqrf orgqr _linalg_det _linalg_slogdet triangular_solve kron
    linalg_cross fft_fft fft_ifft fft_rfft fft_irfft _fft_c2c _fft_r2c _fft_c2r convolution avg_pool2d
    upsample_bilinear2d upsample_nearest2d upsample_bicubic2d avg_pool1d avg_pool3d _upsample_bilinear2d_aa
    _upsample_bicubic2d_aa affine_grid_generator _adaptive_avg_pool2d max_pool2d_with_indices
    native_batch_norm native_layer_norm native_group_norm
"""

_PURE = frozenset(f"{_FACTORIES} {_VIEWS} {_COPIES} {_ARITHMETIC} {_REDUCTIONS} {_MATRICES}".split())
ALLOWED = _PURE | {f"{name}_" for name in _ARITHMETIC.split()} | {"cumsum_", "cumprod_"}
"""Names of operators in `torch.ops.aten` without overload."""


@lru_cache(maxsize=1024)
def operator(name: str) -> Any:
    """The operator `name.overload` of `torch.ops.aten`, if plans may run it.

    Raises:
        PlanError: an operator that is not on the list, or that this torch does not have.

    >>> operator("add.Tensor")
    <OpOverload(op='aten.add', overload='Tensor')>
    """
    base, _, overload = str(name).partition(".")
    if base not in ALLOWED:
        raise PlanError(f"the plan asks to run {name!r}, which is not among the operators that plans may run")
    found = getattr(getattr(torch.ops.aten, base, None), overload or "default", None)
    if not isinstance(found, OpOverload) or torch.Tag.nondeterministic_seeded in found.tags:
        raise PlanError(f"the plan asks to run {name!r}, which torch {torch.__version__} does not have")
    return found


@lru_cache(maxsize=1024)
def takes_device(op: Any) -> bool:
    """Whether the operator must be told where to make its result."""
    names = {argument.name for argument in op._schema.arguments}
    return "device" in names and "self" not in names


def _geqrf(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.empty_like(matrix), matrix.new_empty((*matrix.shape[:-2], min(matrix.shape[-2:])))


META: Mapping[str, Callable[..., Any]] = {"geqrf.default": _geqrf}
"""Shapes of the results of operators for which torch does not know them on the meta device."""
