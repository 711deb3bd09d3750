"""Samples as images."""

from __future__ import annotations

import torch
from torch import nn


class AsImages(nn.Module):
    """Samples as images [n, *shape], whether they come so or flat [n, ∏shape].

    >>> AsImages((1, 2, 3))(torch.zeros(5, 6)).shape
    torch.Size([5, 1, 2, 3])
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return input.reshape(input.shape[0], *self.shape)

    def extra_repr(self) -> str:
        return f"shape={self.shape}"
