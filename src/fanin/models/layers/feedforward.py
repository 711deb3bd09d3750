"""The layers between attention: plain and gated."""

from __future__ import annotations

from math import ceil

import torch
from torch import nn

from fanin.errors import UnknownNameError
from fanin.models.activations import ACTIVATIONS, Activation, activation_module

GATED: dict[str, Activation] = {"geglu": "gelu", "glu": "sigmoid", "reglu": "relu", "swiglu": "silu"}
"""Names of gated layers, with the activation of the gate. Source: Shazeer 2020, arXiv 2002.05202."""


class FeedForward(nn.Module):
    """y = W_down·act(W_up·x + b) + c, step by step.

    >>> FeedForward(8, 32, "gelu")(torch.zeros(1, 5, 8)).shape
    torch.Size([1, 5, 8])
    """

    def __init__(self, width: int, hidden: int, activation: Activation, *, bias: bool = True) -> None:
        super().__init__()
        self.up = nn.Linear(width, hidden, bias=bias)
        self.activation = activation_module(activation)
        self.down = nn.Linear(hidden, width, bias=bias)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return self.down(self.activation(self.up(input)))


class GatedFeedForward(nn.Module):
    """y = W_down·(act(W_gate·x) ⊙ W_up·x), step by step.

    >>> GatedFeedForward(8, 24, "silu", bias=False)(torch.zeros(1, 5, 8)).shape
    torch.Size([1, 5, 8])
    """

    def __init__(self, width: int, hidden: int, activation: Activation, *, bias: bool = True) -> None:
        super().__init__()
        self.gate = nn.Linear(width, hidden, bias=bias)
        self.up = nn.Linear(width, hidden, bias=bias)
        self.activation = activation_module(activation)
        self.down = nn.Linear(hidden, width, bias=bias)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return self.down(self.activation(self.gate(input)) * self.up(input))


def feedforward(width: int, hidden: int | None, activation: Activation, *, bias: bool = True) -> nn.Module:
    """The layer that `activation` asks for: gated for a name of `GATED`, else plain.

    Args:
        width: features of a step.
        hidden: features inside; None for 4·width, or 8/3·width up to a multiple of 8 where gated: as many parameters.
        activation: of the layer or of its gate.
        bias: whether its projections have biases.

    Raises:
        UnknownNameError: no activation of that name.

    >>> feedforward(48, None, "swiglu").up.out_features, feedforward(48, None, "relu").up.out_features
    (128, 192)
    """
    if not isinstance(activation, str) or activation in ACTIVATIONS:
        return FeedForward(width, 4 * width if hidden is None else hidden, activation, bias=bias)
    if activation not in GATED:
        raise UnknownNameError.among("activation", activation, (*ACTIVATIONS, *GATED))
    inside = 8 * ceil(width / 3) if hidden is None else hidden
    return GatedFeedForward(width, inside, GATED[activation], bias=bias)
