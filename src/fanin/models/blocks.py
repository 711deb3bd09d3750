"""The transformer block."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import nn

Placement = Literal["pre", "post"]


class Block(nn.Module):
    """Attention and a feed-forward layer, each a residual branch with its norm before it or after the sum.

        pre:  x ← x + drop(branch(norm(x)))        post:  x ← norm(x + drop(branch(x)))

    Args:
        attention, feedforward: the branches, from [n, steps, width] to the same.
        norm: makes the norm of one branch; `nn.Identity` for none.
        placement: "pre" or "post".
        dropout: share of a branch's outputs set to 0 in training.

    Source: post: Vaswani et al. 2017, arXiv 1706.03762; pre: Xiong et al. 2020, arXiv 2002.04745.

    >>> Block(nn.Linear(8, 8), nn.Linear(8, 8), lambda: nn.LayerNorm(8), "post")(torch.zeros(1, 5, 8)).shape
    torch.Size([1, 5, 8])
    """

    def __init__(
        self,
        attention: nn.Module,
        feedforward: nn.Module,
        norm: Callable[[], nn.Module],
        placement: Placement = "pre",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.attention_norm, self.attention = norm(), attention
        self.feedforward_norm, self.feedforward = norm(), feedforward
        self.dropout = nn.Dropout(dropout)
        self.placement = placement

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        attended = self._beside(input, self.attention, self.attention_norm)
        return self._beside(attended, self.feedforward, self.feedforward_norm)

    def extra_repr(self) -> str:
        return f"placement={self.placement!r}"

    def _beside(self, stream: torch.Tensor, branch: nn.Module, norm: nn.Module) -> torch.Tensor:
        if self.placement == "pre":
            return stream + self.dropout(branch(norm(stream)))
        return norm(stream + self.dropout(branch(stream)))
