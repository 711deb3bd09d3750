"""A second model on the same parameters, whose own state may change."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

from torch import nn

from fanin.torch.pieces import is_part


def twin(model: nn.Module, *shared: object) -> nn.Module:
    """A copy that shares the model's parameters and copies all else: buffers, metrics, lists that a step appends to.

    Where it cannot be copied, or its parameters are sharded, the model itself.

    Args:
        model: any module.
        shared: what is not to be copied either, as the trainer that the model knows.
    """
    parameters = list(model.parameters())
    if any(map(is_part, parameters)):
        return model
    memo: dict[int, Any] = {id(each): each for each in (*parameters, *shared)}
    try:
        return deepcopy(model, memo)
    except Exception:  # locks, generators, open files: whatever a user's module holds
        return model


class Stepping(nn.Module):
    """The model's own layers under their own names, with another forward: one that ends in the loss."""

    _step: Callable[..., Any]

    def __init__(self, model: nn.Module, step: Callable[..., Any]) -> None:
        super().__init__()
        self._modules, self._parameters, self._buffers = model._modules, model._parameters, model._buffers
        object.__setattr__(self, "_step", step)

    def forward(self, *batch: Any) -> Any:
        """What the step returns."""
        return self._step(*batch)
