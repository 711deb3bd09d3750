"""torch's own optimizers, fused where it has such kernels; and the clipping of gradients, lane by lane."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from fanin.race.settings import Settings

_MOMENTUM = 0.9
_FUSED = ("cpu", "cuda")


def optimizer(parameters: Iterable[Tensor], settings: Settings, rate: float) -> torch.optim.Optimizer:
    """The optimizer of the settings. All of them work element by element, so lanes may share one."""
    tensors = [tensor for tensor in parameters if tensor.requires_grad]
    fused = all(tensor.is_floating_point() and tensor.device.type in _FUSED for tensor in tensors) or None
    if settings.optimizer == "sgd":
        return torch.optim.SGD(tensors, lr=rate, momentum=_MOMENTUM, fused=fused)
    kind = torch.optim.Adam if settings.optimizer == "adam" else torch.optim.AdamW
    return kind(tensors, lr=rate, fused=fused)


def clip_lanes(parameters: Iterable[Tensor], greatest: float) -> None:
    """Scale each lane's gradients so that their common norm is at most `greatest`.

        g ← g · min(1, greatest / (‖g‖ + 10⁻⁶)),   ‖g‖ over all tensors of the lane, as `torch.nn.utils.clip_grad_norm_`

    Args:
        parameters: tensors whose first dimension counts the lanes.
        greatest: norm.
    """
    gradients = [tensor.grad for tensor in parameters if tensor.grad is not None]
    squares = [gradient.flatten(1).square().sum(1) for gradient in gradients]
    factors = (greatest / (torch.stack(squares).sum(0).sqrt() + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(factors.view(-1, *[1] * (gradient.ndim - 1)))
