"""Self-attention with shared keys and values, causal or not, with or without rotary positions."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from fanin.errors import ArgumentError
from fanin.models.layers.rotary import Rotary


class Attention(nn.Module):
    """Several heads of attention over the steps of one sequence.

        y = W_o·concat_h(softmax(Q_h·K_gᵀ/√d + mask)·V_g),   g = ⌊h·kv_heads/heads⌋,   d = width/heads

    Args:
        width: features of a step.
        heads: query heads.
        kv_heads: key and value heads, each shared by heads/kv_heads query heads; None for as many as query heads.
        causal: a step sees itself and those before it alone.
        rotary: base of rotary positions; None for none.
        bias: whether the four projections have biases.
        dropout: share of attention weights set to 0 in training.

    Raises:
        ArgumentError: a width that heads do not divide, or heads that kv_heads do not divide.

    Source: Vaswani et al. 2017, arXiv 1706.03762; grouped queries: Ainslie et al. 2023, arXiv 2305.13245.

    >>> Attention(8, 4, kv_heads=2)(torch.zeros(1, 5, 8)).shape
    torch.Size([1, 5, 8])
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        kv_heads: int | None = None,
        causal: bool = True,
        rotary: float | None = None,
        bias: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.heads, self.kv_heads = heads, heads if kv_heads is None else kv_heads
        if width % heads:
            raise ArgumentError(f"attention: {heads} heads do not divide the width {width}")
        if heads % self.kv_heads:
            raise ArgumentError(f"attention: {self.kv_heads} key and value heads do not divide {heads} query heads")
        self.causal, self.dropout = causal, dropout
        size = width // heads
        self.query = nn.Linear(width, width, bias=bias)
        self.key = nn.Linear(width, self.kv_heads * size, bias=bias)
        self.value = nn.Linear(width, self.kv_heads * size, bias=bias)
        self.output = nn.Linear(width, width, bias=bias)
        self.rotary = None if rotary is None else Rotary(size, rotary)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """The steps [n, steps, width] after attending to each other."""
        query = self._split(self.query(input), self.heads)
        key, value = (self._split(layer(input), self.kv_heads) for layer in (self.key, self.value))
        if self.rotary is not None:
            query, key = self.rotary(query), self.rotary(key)
        mixed = scaled_dot_product_attention(
            query,
            key,
            value,
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=self.causal,
            enable_gqa=self.kv_heads != self.heads,
        )
        return self.output(mixed.transpose(1, 2).flatten(2))

    def extra_repr(self) -> str:
        return f"heads={self.heads}, kv_heads={self.kv_heads}, causal={self.causal}, dropout={self.dropout}"

    @staticmethod
    def _split(projected: torch.Tensor, heads: int) -> torch.Tensor:
        return projected.unflatten(-1, (heads, -1)).transpose(1, 2)
