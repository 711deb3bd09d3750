"""A small task that trains in milliseconds, and races on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fanin.race import RaceResult, Settings, compare

Pair = tuple[Tensor, Tensor]


def blobs(count: int, seed: int) -> Pair:
    """Four noisy clusters in eight dimensions."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(4, (count,), generator=generator)
    centres = 2 * torch.eye(4, 8)
    return centres[labels] + 0.7 * torch.randn(count, 8, generator=generator), labels


def small() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))


@pytest.fixture(scope="session")
def data() -> tuple[Pair, Pair]:
    return blobs(200, 0), blobs(100, 1)


@pytest.fixture(scope="session")
def short() -> Settings:
    return Settings(steps=12, batch_size=20, evaluate_every=5, learning_rate=0.05)


@pytest.fixture(scope="session")
def race(data: Any, short: Settings) -> Callable[..., RaceResult]:
    """`compare` on the small task."""

    def run(recipes: Any = ("native", "he"), **options: Any) -> RaceResult:
        given = {"model_factory": small, "data": data, "seeds": 2, "settings": short, "engine": "sequential"} | options
        return compare(recipes=recipes, **given)

    return run


@pytest.fixture(scope="session")
def result(race: Callable[..., RaceResult]) -> RaceResult:
    return race()
