"""What an engine trains: lanes, each one run with a start, a seed and a learning rate of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True, slots=True)
class Lane:
    """One run to train.

    Attributes:
        start: name of what it starts from, for messages.
        seed: decides the order of samples, and what the model draws while it trains.
        rate: learning rate.
        build: makes the model with its first values; need not be picklable.
        steps: optimizer steps.
    """

    start: str
    seed: int
    rate: float
    build: Callable[[], nn.Module]
    steps: int

    def __str__(self) -> str:
        return f"start {self.start!r}, seed {self.seed}, learning rate {self.rate:g}"


Progress = Callable[[int, int, float], None]
"""Called now and then with a lane's number, its steps so far and its last training loss."""
