"""Losses by the names of torch's own."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional as F

from fanin.errors import UnknownNameError

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def cross_entropy(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean cross entropy in nats of logits [n, …, classes] against classes [n, …]; −100 is left aside.

    >>> round(cross_entropy(torch.zeros(2, 3, 4), torch.zeros(2, 3, dtype=torch.long)).exp().item(), 4)
    4.0
    """
    return F.cross_entropy(outputs.flatten(0, -2), targets.flatten())


LOSSES: dict[str, Loss | None] = {
    "cross_entropy": cross_entropy,
    "mse": F.mse_loss,
    "l1": F.l1_loss,
    "bce": F.binary_cross_entropy,
    "bce_with_logits": F.binary_cross_entropy_with_logits,
    "none": None,
}


def check(name: object) -> None:
    """Raise unless `name` is one of `LOSSES`."""
    if not isinstance(name, str) or name not in LOSSES:
        raise UnknownNameError.among("loss", str(name), LOSSES)
