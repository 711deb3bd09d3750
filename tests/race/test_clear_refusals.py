"""What cannot be raced is refused with one sentence before anything trains: batches, devices, targets."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fanin.cli import run
from fanin.errors import ArgumentError, DataError
from fanin.race import RaceResult, Settings
from fanin.race.course import Course, course
from fanin.race.fitting import check_fit

Race = Callable[..., RaceResult]


@pytest.fixture
def track(data: Any) -> Course:
    return course(data)


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    def train(*arguments: Any, **options: Any) -> Any:
        raise AssertionError("something was trained")

    monkeypatch.setattr("fanin.race.trainer.train_lanes", train)


def normed() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 4), nn.BatchNorm1d(4))


class Wanting(nn.Module):
    """In training it takes four samples or more."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        if self.training and len(x) < 4:
            raise ValueError("four or more")
        return self.linear(x)


class Drawing(nn.Module):
    """In training it draws from every global random state, and counts in a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(8, 4), nn.BatchNorm1d(4)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            x = x + torch.rand(()) + random.random() + np.random.rand()
        return self.norm(self.linear(x))


@pytest.mark.usefixtures("untrained")
def test_a_batch_that_the_model_cannot_train_on(race: Race) -> None:
    with pytest.raises(
        DataError,
        match=r"own cannot be trained on batches \[1, 8\] \(float32\) of the data: ValueError: Expected more than 1 "
        r"value per channel.*; evaluation mode takes them: take a larger batch, or mend ",
    ):
        race(model_factory=normed, name="own", settings=Settings(batch_size=1))


def test_models_are_refused_for_their_own_batch_only(track: Course) -> None:
    assert check_fit(normed, track, "own", 2) == "Sequential"
    assert check_fit(Wanting, track, "own", 20) == "Wanting"
    with pytest.raises(DataError, match=r"batches \[3, 8\] .*: ValueError: four or more; evaluation mode takes them"):
        check_fit(Wanting, track, "own", 3)


def test_the_try_leaves_random_states_and_buffers(track: Course) -> None:
    model = Drawing()
    buffers = {name: value.clone() for name, value in model.named_buffers()}
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # pyright: ignore
    check_fit(lambda: model, track, "own", 20)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states[1:]  # pyright: ignore
    assert all(torch.equal(value, buffers[name]) for name, value in model.named_buffers())


@pytest.mark.usefixtures("untrained")
def test_a_device_without_values(race: Race) -> None:
    with pytest.raises(ArgumentError, match=r"device 'meta' cannot be used here: .*meta.*; 'cpu' always can"):
        race(device="meta")


@pytest.mark.usefixtures("untrained")
@pytest.mark.parametrize(
    ("target", "message"),
    [
        (90.0, r"target must be an accuracy from 0 to 1, got 90; did you mean 0\.9\?$"),
        (1000.0, "target must be an accuracy from 0 to 1, got 1000, where 0.9 is 90%$"),
    ],
)
def test_an_accuracy_that_no_score_reaches(target: float, message: str, race: Race) -> None:
    with pytest.raises(ArgumentError, match=message):
        race(settings=Settings(target=target))


def test_targets_that_can_be_meant(race: Race) -> None:
    short = Settings(steps=2, learning_rate=0.05)
    assert race(["he"], settings=replace(short, target=1.0)).target == 1
    values = ((torch.randn(30, 8), 100 * torch.randn(30, 4)),) * 2
    assert race(["he"], data=values, settings=replace(short, target=90.0)).target == 90


@pytest.mark.usefixtures("untrained")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--batch 1", "mlp:64-10-10,norm=batch cannot be trained on batches [1, 1, 8, 8] (float32) of digits"),
        ("--device meta", "device 'meta' cannot be used here"),
        ("--target 90", "target must be an accuracy from 0 to 1, got 90; did you mean 0.9?"),
    ],
)
def test_the_command_says_it_in_one_line(words: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sklearn")  # ships the digits
    line = f"compare mlp:64-10-10,norm=batch --data digits,train=200,test=100 --recipes he --steps 5 {words}"
    assert run(line.split()) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"Error: {message}")
    assert told.count("\n") == 1
