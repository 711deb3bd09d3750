"""Mixture of experts: a router chooses who answers."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from fanin.errors import ArgumentError


class Experts(nn.Module):
    """The answers of the `chosen` experts that a router trusts most, weighted by the softmax over their logits.

        y = Σ_{e ∈ top(R·x)} softmax_{top}(R·x)_e · expert_e(x)

    Every expert answers every step and the weights of those not chosen are 0: no control flow depends on data, and
    the price is that of all experts. There is no auxiliary loss that balances them.

    Args:
        width: features of a step.
        experts: how many.
        chosen: how many answer at each step.
        make: makes one expert.

    Raises:
        ArgumentError: `chosen` is not from 1 to `experts`.

    Source: Shazeer et al. 2017, arXiv 1701.06538; the softmax after the choice as in Mixtral, arXiv 2401.04088.

    >>> Experts(8, 4, 2, lambda: nn.Linear(8, 8))(torch.zeros(1, 5, 8)).shape
    torch.Size([1, 5, 8])
    """

    def __init__(self, width: int, experts: int, chosen: int, make: Callable[[], nn.Module]) -> None:
        super().__init__()
        if not 1 <= chosen <= experts:
            raise ArgumentError(f"experts_per_token must be from 1 to the {experts} experts, got {chosen}")
        self.chosen = chosen
        self.router = nn.Linear(width, experts, bias=False)
        self.experts = nn.ModuleList(make() for _ in range(experts))

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        logits = self.router(input)
        best, who = logits.topk(self.chosen, dim=-1)
        weights = torch.zeros_like(logits).scatter(-1, who, best.softmax(-1))
        answers = torch.stack([expert(input) for expert in self.experts], dim=-1)
        return (answers * weights.unsqueeze(-2)).sum(-1)

    def extra_repr(self) -> str:
        return f"chosen={self.chosen}"
