"""Learned positions."""

from __future__ import annotations

import torch
from torch import nn


class LearnedPositions(nn.Module):
    """Adds a learned vector to each step of a sequence: y_t = x_t + p_t.

    >>> LearnedPositions(10, 4)(torch.zeros(2, 7, 4)).shape
    torch.Size([2, 7, 4])
    """

    def __init__(self, steps: int, width: int) -> None:
        super().__init__()
        self.table = nn.Embedding(steps, width)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return input + self.table(torch.arange(input.shape[1], device=input.device))
