"""FLOPs of single operations, from the shapes they are called with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import flop_registry, sdpa_flop_count

aten = torch.ops.aten


def flops(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> int:
    """Floating-point operations of one call: 2 for each multiply-accumulate of products, convolutions, attention.

    Everything else (bias, activation, normalisation, softmax outside fused attention, copies) counts as 0, as is usual.

    Source: torch.utils.flop_counter, with formulas for the products it leaves out.
    """
    packet = getattr(function, "overloadpacket", None)
    if packet in _MORE:
        return _MORE[packet](*args)
    if packet in flop_registry:
        return int(flop_registry[packet](*args, **kwargs, out_val=result))
    return 0


def _attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *_: Any) -> int:
    return int(sdpa_flop_count(query.shape, key.shape, value.shape))


def _matrix_vector(matrix: torch.Tensor, *_: Any) -> int:
    return 2 * matrix.numel()


def _added_matrix_vector(_: torch.Tensor, matrix: torch.Tensor, *__: Any) -> int:
    return 2 * matrix.numel()


def _addbmm(_: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> int:
    return 2 * left.numel() * right.shape[-1]


def _grouped(left: torch.Tensor, right: torch.Tensor, *_: Any) -> int:
    # Rows of `left` are dealt out to the matrices of `right`; each row meets one matrix.
    return 2 * left.numel() * right.shape[-1]


def _bilinear(first: torch.Tensor, weight: torch.Tensor, *_: Any) -> int:
    return 2 * first.shape[0] * weight.numel()


_MORE: dict[Any, Callable[..., int]] = {
    aten.mv: _matrix_vector,
    aten.addmv: _added_matrix_vector,
    aten.dot: _matrix_vector,
    aten.vdot: _matrix_vector,
    aten.addbmm: _addbmm,
    aten._trilinear: _bilinear,
    aten._grouped_mm: _grouped,
    aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    aten._scaled_dot_product_fused_attention_overrideable: _attention,
}
