"""Attention as torch runs it on real devices: fused, without the matrix of scores."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

_FUSED = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu


class FusedAttention(TorchFunctionMode):
    """Sends `scaled_dot_product_attention` on `meta` to a fused kernel.

    On `meta` torch takes attention apart and autograd would save its n·heads·queries·keys scores, which no device
    keeps. Dropout is left out: fused kernels store a seed in place of a mask.
    """

    def __torch_function__(
        self, func: Any, types: Iterable[type], args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is scaled_dot_product_attention:
            return _attention(*args, **(kwargs or {}))
        if func is F.multi_head_attention_forward:
            with _inside():
                return func(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


@contextmanager
def _inside() -> Generator[None]:
    # torch shows a mode the outer function only, so the inner one is replaced by name while the outer runs.
    F.scaled_dot_product_attention = _attention
    try:
        yield
    finally:
        F.scaled_dot_product_attention = scaled_dot_product_attention


def _attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> torch.Tensor:
    masked = attn_mask is not None and attn_mask.requires_grad
    if not query.is_meta or query.ndim != 4 or query.shape[-1] != value.shape[-1] or masked:
        return scaled_dot_product_attention(
            query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
        )
    mask = None if attn_mask is None else attn_mask.to(query.dtype)
    return _FUSED(query, key, value, 0.0, is_causal, attn_mask=mask, scale=scale)[0]
