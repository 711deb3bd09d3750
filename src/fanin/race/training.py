"""What every run does alike: the order of its samples, and its looks at the test data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fanin.race.course import Pair
from fanin.race.objective import Objective
from fanin.race.settings import Settings

CHUNK = 100  # its activations stay in the cache


@dataclass(frozen=True, slots=True)
class Trained:
    """Training loss of each step; loss and score on the test data after the steps in `seen`.

    A run is `complete` after its last step, or after a loss that is not finite; not where it was interrupted.
    """

    losses: tuple[float, ...]
    seen: tuple[int, ...]
    test_losses: tuple[float, ...]
    scores: tuple[float, ...]
    complete: bool = True


def batches(samples: int, settings: Settings, seed: int) -> Iterator[Tensor]:
    """Indices of each step: permutations of all samples, drawn from `seed` and nothing else; short ends are dropped."""
    generator = torch.Generator().manual_seed(seed)
    size = min(settings.batch_size, samples)
    left = settings.steps
    while left:
        order = torch.randperm(samples, generator=generator)
        for chosen in order.split(size)[: min(left, samples // size)]:
            left -= 1
            yield chosen


def evaluate(model: nn.Module, test: Pair, objective: Objective) -> tuple[float, float]:
    """(mean loss, score) in evaluation mode, 0 where no target counts; the model is in training mode afterwards."""
    model.eval()
    loss, score = 0.0, 0.0
    with torch.no_grad():
        for inputs, targets in zip(test[0].split(CHUNK), test[1].split(CHUNK), strict=True):
            outputs = model(inputs)
            loss += float(objective.loss_sum(outputs, targets))
            score += float(objective.score_sum(outputs, targets))
    model.train()
    count = max(1, objective.count(test[1]))
    return loss / count, objective.score(score / count)
