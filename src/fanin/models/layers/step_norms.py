"""Normalisations of sequences [n, steps, width]."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn


class StepBatchNorm(nn.Module):
    """Batch normalisation of each feature over all steps of all samples.

    Source: Zerveas et al. 2020, arXiv 2010.02803, section 3 (in place of layer normalisation for time series).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return self.norm(input.transpose(1, 2)).transpose(1, 2)


def step_norms(*, bias: bool = True) -> dict[str, Callable[[int], nn.Module]]:
    """The normalisations of single steps by name; `bias` is whether layer normalisation shifts.

    >>> step_norms(bias=False)["layer"](8).bias is None
    True
    """
    return {
        "layer": lambda width: nn.LayerNorm(width, bias=bias),
        "rms": lambda width: nn.RMSNorm(width, eps=1e-5),
    }
