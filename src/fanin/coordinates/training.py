"""A few optimizer steps of a small model on one batch, watched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from fanin.coordinates.watching import Watch
from fanin.errors import DataError
from fanin.torch.evaluated import forward
from fanin.torch.probe.batch import Loss, scalar, tensors_in

_GROWN = 1000.0


@dataclass(frozen=True, slots=True)
class Run:
    """Losses before each step and after the last, and the changes of each layer after each step."""

    losses: tuple[float, ...]
    changes: tuple[dict[str, float], ...]


def train(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    watch: Watch,
    inputs: Any,
    loss: Callable[[Any], Tensor],
    steps: int,
    told: str,
) -> Run:
    """Train on one batch.

    Args:
        model, optimizer: of one run.
        watch: of the model.
        inputs: the batch.
        loss: from the model's output to a number.
        steps: how many.
        told: the size and seed, for errors.

    Raises:
        DataError: the loss is not finite, or a thousand times what it was.
    """
    losses: list[float] = []
    changes: list[dict[str, float]] = []
    model.train()
    for step in range(steps + 1):
        value = loss(forward(model, inputs))
        losses.append(float(value.detach()))
        if not isfinite(losses[-1]) or losses[-1] > _GROWN * max(abs(losses[0]), 1.0):
            raise DataError(
                f"training diverges {told}: the loss is {losses[-1]:.4g} before step {step + 1} and was "
                f"{losses[0]:.4g} at the start; choose a smaller lr"
            )
        if step == steps:
            break
        if not value.requires_grad:
            raise DataError("the loss does not depend on any parameter that requires grad: nothing can be trained")
        optimizer.zero_grad()
        value.backward()  # pyright: ignore[reportUnknownMemberType]
        optimizer.step()
        changes.append(watch.changes())
    return Run(tuple(losses), tuple(changes))


def loss_of(given: Loss, inputs: Any, generator: torch.Generator) -> Callable[[Any], Tensor]:
    """What is trained: what the user says; without that the next token where the inputs are tokens and the outputs one
    score for each, else random classes, or random numbers where there is one output.
    """
    if given is not None:
        return lambda output: scalar(given, output)
    fixed: list[Tensor] = []

    def made_up(output: Any) -> Tensor:
        logits = _logits(output)
        tokens = next((each for each in tensors_in(inputs) if not each.is_floating_point()), None)
        if tokens is not None and logits.shape[:-1] == tokens.shape and logits.dim() == 3:
            return cross_entropy(logits[:, :-1].flatten(0, 1).float(), tokens[:, 1:].flatten())
        if not fixed:
            shape, classes = logits.shape[:-1], logits.shape[-1]
            drawn = torch.randint(classes, shape, generator=generator) if classes > 1 else None
            fixed.append(torch.randn(logits.shape, generator=generator) if drawn is None else drawn)
        if fixed[0].is_floating_point():
            return mse_loss(logits, fixed[0].to(logits))
        return cross_entropy(logits.reshape(-1, logits.shape[-1]).float(), fixed[0].to(logits.device).flatten())

    return made_up


def _logits(output: Any) -> Tensor:
    named = getattr(output, "logits", None)
    found = named if isinstance(named, Tensor) else next(iter(tensors_in(output)), None)
    if found is None or not found.is_floating_point() or not found.dim():
        raise DataError("the model returns no floating-point tensor to train: give loss=, a function of its output")
    return found
