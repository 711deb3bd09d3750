"""torch's own optimizers, as functions of the gradients; and the clipping of gradients, lane by lane."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.adamw import adamw
from torch.optim.sgd import sgd

from fanin.race.settings import Settings

Gradients = Sequence[Tensor | None]
"""One for each parameter; None where the loss does not depend on it."""

_MOMENTUM = 0.9
_ADAM = {"amsgrad": False, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}
_DECAY = {"adam": 0.0, "adamw": 0.01}
_FUSED = ("cpu", "cuda")


class Optimizer:
    """A step of `torch.optim` in the numbers of its classes' defaults, without their bookkeeping.

    The classes and `.grad` took about a seventh of a step of mnist-fc at batch 32. Fused where torch has such kernels.
    All of it works element by element, so that lanes may share one.
    """

    def __init__(self, parameters: Iterable[Tensor], settings: Settings, rate: float) -> None:
        self.parameters = [tensor for tensor in parameters if tensor.requires_grad]
        fused = all(tensor.is_floating_point() and tensor.device.type in _FUSED for tensor in self.parameters) or None
        if settings.optimizer == "sgd":
            self._state = [self._zeros()]
            common: dict[str, Any] = {"momentum": _MOMENTUM, "dampening": 0.0, "nesterov": False, "weight_decay": 0.0}
            self._kernel: Callable[..., None] = partial(sgd, **common, lr=rate, fused=fused, maximize=False)
            return
        self._state = [self._zeros(), self._zeros(), [torch.zeros((), device=each.device) for each in self.parameters]]
        common = _ADAM | {"weight_decay": _DECAY[settings.optimizer], "maximize": False}
        common["has_complex"] = any(tensor.is_complex() for tensor in self.parameters)
        kind = adam if settings.optimizer == "adam" else adamw
        self._kernel = partial(_adaptive, partial(kind, **common, lr=rate, fused=fused))

    def _zeros(self) -> list[Tensor]:
        return [torch.zeros_like(tensor, requires_grad=False) for tensor in self.parameters]

    def gradients(self, loss: Tensor) -> Gradients:
        """Of a number with respect to the parameters."""
        return torch.autograd.grad(loss, self.parameters, allow_unused=True)

    @torch.no_grad()
    def step(self, gradients: Gradients) -> None:
        """Change the parameters; one without a gradient stays, and so does its state."""
        used = [index for index, gradient in enumerate(gradients) if gradient is not None]
        columns = ([column[index] for index in used] for column in (self.parameters, *self._state))
        parameters, *state = columns
        self._kernel(parameters, [_laid(gradients[index], self.parameters[index]) for index in used], *state)


def _adaptive(
    kernel: Callable[..., None],
    parameters: list[Tensor],
    gradients: list[Tensor],
    means: list[Tensor],
    squares: list[Tensor],
    steps: list[Tensor],
) -> None:
    kernel(parameters, gradients, means, squares, [], steps)


def _laid(gradient: Any, parameter: Tensor) -> Tensor:
    """The gradient in the parameter's order of memory, by which fused kernels go through both."""
    if gradient.stride() == parameter.stride():
        return gradient
    return torch.empty_like(parameter, requires_grad=False).copy_(gradient)


def clipped(gradients: Gradients, greatest: float, lanes: int = 1) -> Gradients:
    """Each lane's gradients, scaled so that their common norm is at most `greatest`.

        g · min(1, greatest / (‖g‖ + 10⁻⁶)),   ‖g‖ over all tensors of the lane, as `torch.nn.utils.clip_grad_norm_`

    Args:
        gradients: of single models; of several lanes where the first dimension counts them.
        greatest: norm.
        lanes: how many.
    """
    rows = [gradient.reshape(lanes, -1) for gradient in gradients if gradient is not None]
    if not rows:
        return gradients
    norm = torch.stack([row.square().sum(1) for row in rows]).sum(0).sqrt()
    factors = (greatest / (norm + 1e-6)).clamp(max=1.0).unsqueeze(1)
    return [None if each is None else (each.reshape(lanes, -1) * factors).view(each.shape) for each in gradients]
