"""Single numbers that are learned: what Fixup puts where a normalisation would stand."""

from __future__ import annotations

import torch
from torch import nn


class ScalarBias(nn.Module):
    """y = x + b with one number b, which starts at 0.

    Source: Zhang, Dauphin & Ma 2019, arXiv 1901.09321.

    >>> ScalarBias()(torch.ones(2, 3)).shape
    torch.Size([2, 3])
    """

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return input + self.bias


class ScalarScale(nn.Module):
    """y = s·x with one number s, which starts at 1.

    Source: Zhang, Dauphin & Ma 2019, arXiv 1901.09321.

    >>> ScalarScale()(torch.ones(2, 3)).shape
    torch.Size([2, 3])
    """

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return input * self.scale
