"""Operations between layers as modules without parameters, so that each has a place and a name in a model."""

from __future__ import annotations

from functools import reduce

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from fanin.errors import ArgumentError
from fanin.models.activations import Elementwise

ELEMENTWISE = {
    "abs": torch.abs,
    "cos": torch.cos,
    "erf": torch.erf,
    "exp": torch.exp,
    "log": torch.log,
    "neg": torch.neg,
    "reciprocal": torch.reciprocal,
    "rsqrt": torch.rsqrt,
    "sin": torch.sin,
    "sqrt": torch.sqrt,
    "square": torch.square,
}
"""Functions that are layers by their own name."""


class Add(nn.Module):
    """x₁ + x₂ + …"""

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        return reduce(torch.add, inputs)


class Multiply(nn.Module):
    """x₁ ⊙ x₂ ⊙ …"""

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        return reduce(torch.mul, inputs)


class Subtract(nn.Module):
    """x₁ − x₂"""

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        return left - right


class Divide(nn.Module):
    """x₁ / x₂, or x / by"""

    def __init__(self, by: float | None = None) -> None:
        super().__init__()
        self.by = by

    def forward(self, left: torch.Tensor, right: torch.Tensor | None = None) -> torch.Tensor:
        divisor = self.by if right is None else right
        if divisor is None or (right is not None and self.by is not None):
            raise ArgumentError("divide takes a second input or the number by, one of them")
        return left / divisor


class MatMul(nn.Module):
    """x₁ · x₂ as matrices"""

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        return left @ right


class Scale(nn.Module):
    """by · x"""

    def __init__(self, by: float) -> None:
        super().__init__()
        self.by = by

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return input * self.by

    def extra_repr(self) -> str:
        return f"by={self.by}"


class Shift(nn.Module):
    """x + by"""

    def __init__(self, by: float) -> None:
        super().__init__()
        self.by = by

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return input + self.by

    def extra_repr(self) -> str:
        return f"by={self.by}"


class Power(nn.Module):
    """x^exponent"""

    def __init__(self, exponent: float) -> None:
        super().__init__()
        self.exponent = exponent

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return input**self.exponent

    def extra_repr(self) -> str:
        return f"exponent={self.exponent}"


class Reduce(nn.Module):
    """Mean, sum or maximum over dimensions."""

    def __init__(self, dim: int | tuple[int, ...], keepdim: bool = False) -> None:
        super().__init__()
        self.dim, self.keepdim = dim, keepdim

    def extra_repr(self) -> str:
        return f"dim={self.dim}, keepdim={self.keepdim}"


class Mean(Reduce):
    """Mean over dimensions."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return input.mean(self.dim, keepdim=self.keepdim)


class Sum(Reduce):
    """Sum over dimensions."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return input.sum(self.dim, keepdim=self.keepdim)


class Maximum(Reduce):
    """Maximum over dimensions."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return input.amax(self.dim, keepdim=self.keepdim)


class DotProductAttention(nn.Module):
    """softmax(q·kᵀ·scale)·v; scale is 1/√d where not given."""

    def __init__(self, causal: bool = False, scale: float | None = None, dropout: float = 0.0) -> None:
        super().__init__()
        self.causal, self.scale, self.dropout = causal, scale, dropout

    def forward(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        dropout = self.dropout if self.training else 0.0
        return scaled_dot_product_attention(
            query, key, value, dropout_p=dropout, is_causal=self.causal, scale=self.scale
        )

    def extra_repr(self) -> str:
        return f"causal={self.causal}, scale={self.scale}, dropout={self.dropout}"


def elementwise(name: str) -> nn.Module:
    """The function of `ELEMENTWISE` as a module."""
    return Elementwise(ELEMENTWISE[name])
