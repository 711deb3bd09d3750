"""An image as a sequence of tokens."""

from __future__ import annotations

import torch
from torch import nn


class Patches(nn.Module):
    """Square patches of an image, each through the same linear map, row by row: [n, C, H, W] → [n, tokens, width].

    Source: Dosovitskiy et al. 2020, arXiv 2010.11929, section 3.1.

    >>> Patches(3, 4, 16)(torch.zeros(2, 3, 8, 12)).shape
    torch.Size([2, 6, 16])
    """

    def __init__(self, channels: int, patch: int, width: int, *, bias: bool = True) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, width, patch, patch, bias=bias)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return self.proj(input).flatten(2).transpose(1, 2)


class ClassToken(nn.Module):
    """Puts a learned token, which starts at 0, before those of each sample.

    >>> ClassToken(16)(torch.ones(2, 6, 16)).shape
    torch.Size([2, 7, 16])
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.zeros(1, 1, width))

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return torch.cat((self.token.expand(input.shape[0], -1, -1), input), dim=1)


class Pooled(nn.Module):
    """One vector for a sequence [n, tokens, width]: the class token, which stands first, or the average of all."""

    def __init__(self, reads: str) -> None:
        super().__init__()
        self.reads = reads

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return input[:, 0] if self.reads == "class" else input.mean(1)

    def extra_repr(self) -> str:
        return f"reads={self.reads!r}"
