"""Lanes, data and a plain loop for the tests of engines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import nn

import fanin
import fanin.models
from fanin.race.course import Course, course
from fanin.race.engines import Lane, train_lanes
from fanin.race.settings import Settings
from fanin.race.training import Trained, batches

ALL = ("sequential", "threads,workers=2", "processes,workers=2", "stacked,group=4", "stacked,workers=2,group=2")
KERNELS = ("sequential,onednn", "sequential,channels_last", "processes,workers=2,channels_last,onednn")
SETTINGS = Settings(batch_size=16, evaluate_every=4)


def images(samples: int = 200, tests: int = 30, side: int = 14) -> Course:
    """Images whose class shows in them, and noise."""
    generator = torch.Generator().manual_seed(1)
    means = torch.randn(10, 1, side, side, generator=generator)

    def part(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        labels = torch.randint(10, (count,), generator=generator)
        return means[labels] + torch.randn(count, 1, side, side, generator=generator), labels

    return course((part(samples), part(tests)))


def lanes(build: Callable[[], nn.Module], seeds: int = 4, rate: float = 0.05, steps: int = 10) -> list[Lane]:
    """Lanes whose weights are drawn from the lane's seed by torch's global generator, within a lambda."""
    return [Lane("native", seed, rate, lambda: build(), steps) for seed in range(seeds)]


def model_lanes(name: str, seeds: int, steps: int) -> list[Lane]:
    """Lanes of a catalogue model with He's weights from fanin's streams."""

    def lane(seed: int) -> Lane:
        def build() -> nn.Module:
            model = fanin.models.build(name)
            fanin.initialize(model, recipe="he", seed=seed)
            return model

        return Lane("he", seed, 0.05, build, steps)

    return [lane(seed) for seed in range(seeds)]


def trained(some: list[Lane], data: Course, engine: str, settings: Settings = SETTINGS) -> list[Trained]:
    """Results in the order of the lanes, each there once."""
    pairs = list(train_lanes(some, data, settings, engine=engine))
    assert sorted(index for index, _ in pairs) == list(range(len(some)))
    return [done for _, done in sorted(pairs, key=lambda pair: pair[0])]


def plain(lane: Lane, data: Course, settings: Settings) -> tuple[list[float], nn.Module]:
    """Training losses and the model of a loop as anybody writes it."""
    torch.manual_seed(lane.seed)
    model = lane.build().train()
    torch.manual_seed(lane.seed)
    if settings.optimizer == "sgd":
        optimizer: torch.optim.Optimizer = torch.optim.SGD(model.parameters(), lr=lane.rate, momentum=0.9)
    elif settings.optimizer == "adam":
        optimizer = torch.optim.Adam(model.parameters(), lr=lane.rate)
    else:
        optimizer = torch.optim.AdamW(model.parameters(), lr=lane.rate)
    losses: list[float] = []
    for chosen in batches(len(data.train[1]), replace(settings, steps=lane.steps), lane.seed):
        optimizer.zero_grad()
        loss = data.objective.loss(model(data.train[0][chosen]), data.train[1][chosen])
        loss.backward()
        if settings.clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
        optimizer.step()
        losses.append(loss.item())
    return losses, model
