"""One run: train a model that already has its weights, on an order of samples that depends on the seed alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from fanin.race.course import Course, Settings

_CHUNK = 100  # its activations stay in the cache


@dataclass(frozen=True, slots=True)
class Trained:
    """Training loss of each step; accuracy and loss on the test data after the steps in `seen`."""

    losses: tuple[float, ...]
    seen: tuple[int, ...]
    accuracies: tuple[float, ...]
    test_losses: tuple[float, ...]


def train(model: nn.Module, course: Course, settings: Settings, seed: int) -> Trained:
    """Train for `settings.steps` steps, or until the loss is no longer finite."""
    optimizer = _optimizer(model, settings)
    losses: list[float] = []
    looks = [(0, *evaluate(model, course.test))]
    for step, chosen in enumerate(batches(len(course.train[1]), settings, seed), start=1):
        losses.append(_step(model, optimizer, course.train[0][chosen], course.train[1][chosen]))
        if step % settings.evaluate_every == 0 or step == settings.steps:
            looks.append((step, *evaluate(model, course.test)))
        if not isfinite(losses[-1]):
            break
    seen, accuracies, test_losses = zip(*looks, strict=True)
    return Trained(tuple(losses), seen, accuracies, test_losses)


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


def evaluate(model: nn.Module, test: tuple[Tensor, Tensor]) -> tuple[float, float]:
    """(accuracy, mean cross entropy) in evaluation mode."""
    model.eval()
    right, loss = 0, 0.0
    with torch.no_grad():
        for inputs, labels in zip(test[0].split(_CHUNK), test[1].split(_CHUNK), strict=True):
            logits = model(inputs)
            right += int((logits.argmax(1) == labels).sum())
            loss += float(cross_entropy(logits, labels, reduction="sum"))
    return right / len(test[1]), loss / len(test[1])


def _optimizer(model: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    if settings.optimizer == "sgd":
        return torch.optim.SGD(model.parameters(), lr=settings.rate, momentum=0.9)
    return torch.optim.Adam(model.parameters(), lr=settings.rate)


def _step(model: nn.Module, optimizer: torch.optim.Optimizer, inputs: Tensor, labels: Tensor) -> float:
    model.train()
    loss = cross_entropy(model(inputs), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return float(loss.detach())
