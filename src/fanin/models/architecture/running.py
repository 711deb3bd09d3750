"""Layers on tensors without memory."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class Running(nn.Module):
    """What a layer makes of `meta` tensors; a recurrent one reads its first step alone, the others are alike."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, *inputs: Any, **named: Any) -> Any:
        module, steps = self.inner, inputs[0] if inputs else None
        if not isinstance(module, nn.RNNBase) or not isinstance(steps, torch.Tensor) or steps.dim() not in (2, 3):
            return module(*inputs, **named)
        time = 1 if module.batch_first and steps.dim() == 3 else 0
        result, states = module(steps.narrow(time, 0, 1), *inputs[1:], **named)
        sizes = list(result.shape)
        sizes[time] = steps.shape[time]
        return result.new_empty(sizes), states
