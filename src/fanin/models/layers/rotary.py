"""Positions as rotations of queries and keys."""

from __future__ import annotations

import torch
from torch import nn

from fanin.errors import ArgumentError


class Rotary(nn.Module):
    """Turns pairs of a head's coordinates by angles that grow with the position: scores depend on distances alone.

        (x_i, x_{i+d/2}) → rotation by t·base^(−2i/d) for the position t and i < d/2

    The angles are computed in the pass, so that there is no buffer to store.

    Args:
        size: d, coordinates of one head; even.
        base: the longest wave takes 2π·base^(1 − 2/d) positions.

    Raises:
        ArgumentError: an odd size, or a base that is not above 0.

    Source: Su et al. 2021, arXiv 2104.09864, in the order of coordinates that Llama has in transformers.

    >>> turned = Rotary(4)(torch.ones(1, 1, 3, 4))
    >>> turned.square().sum(-1).round(decimals=4).flatten().tolist()
    [4.0, 4.0, 4.0]
    """

    def __init__(self, size: int, base: float = 10000.0) -> None:
        super().__init__()
        if size % 2:
            raise ArgumentError(f"rotary positions turn pairs of coordinates: heads of size {size} must be even")
        if not base > 0:
            raise ArgumentError(f"rotary base must be above 0, got {base}")
        self.size, self.base = size, base

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """The heads [n, heads, steps, size], each step turned by its position."""
        places = torch.arange(input.shape[-2], device=input.device, dtype=torch.float32)
        exponents = torch.arange(0, self.size, 2, device=input.device, dtype=torch.float32) / self.size
        angles = places[:, None] * self.base**-exponents
        cosine, sine = angles.cos().to(input.dtype), angles.sin().to(input.dtype)
        first, second = input.chunk(2, dim=-1)
        return torch.cat((first * cosine - second * sine, second * cosine + first * sine), dim=-1)

    def extra_repr(self) -> str:
        return f"size={self.size}, base={self.base:g}"
