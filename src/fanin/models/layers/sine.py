"""Sines as activations."""

from __future__ import annotations

import torch
from torch import nn


class Sine(nn.Module):
    """y = sin(ω·x).

    Source: Sitzmann et al. 2020, arXiv 2006.09661, section 3.2.

    >>> Sine(30.0)(torch.zeros(2, 3)).shape
    torch.Size([2, 3])
    """

    def __init__(self, omega: float) -> None:
        super().__init__()
        self.omega = omega

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return torch.sin(self.omega * input)

    def extra_repr(self) -> str:
        return f"omega={self.omega:g}"
