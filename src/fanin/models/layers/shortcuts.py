"""Shortcuts around a residual branch that have no parameters."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import pad


class PaddedShortcut(nn.Module):
    """Every `stride`-th pixel of the input, and channels of zeros where the branch has more: option A.

    Source: He et al. 2015, arXiv 1512.03385, section 3.3.

    >>> PaddedShortcut(2, 3)(torch.ones(1, 2, 4, 4)).shape
    torch.Size([1, 5, 2, 2])
    """

    def __init__(self, stride: int, zeros: int) -> None:
        super().__init__()
        self.stride, self.zeros = stride, zeros

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return pad(input[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.zeros))

    def extra_repr(self) -> str:
        return f"stride={self.stride}, zeros={self.zeros}"
