"""Engines: each gives what a plain loop gives, whatever trains beside a lane."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from fanin.data import load
from fanin.race.course import Course, course
from fanin.race.engines import Lane, train_lanes
from fanin.race.settings import Settings
from fanin.race.training import Trained, batches, evaluate

from .lanes_to_train import ALL, KERNELS, SETTINGS, images, lanes, model_lanes, plain, trained

# One step's sums in another order differ by about 1e-7 of the loss. Steps amplify that, and a maximum taken of two
# equal pixels may go to the other one, which alone moves the loss by 1e-4.
FIRST, LATER = 2e-6, 5e-3


def dense() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(196, 12), nn.ReLU(), nn.Linear(12, 10))


def normed() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(144, 10)
    )


def dropped() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(196, 12), nn.Dropout(0.5), nn.ReLU(), nn.Linear(12, 10))


class Rows(nn.Module):
    """An LSTM over the rows of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(14, 6, batch_first=True)
        self.out = nn.Linear(6, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.out(self.lstm(images[:, 0])[0][:, -1])


DATA = images()


@pytest.fixture(scope="module")
def digits() -> Course:
    return course(load("mnist,train=500,test=100"))


@pytest.mark.parametrize("name", ["mnist-fc", "mnist-cnn"])
def test_every_engine_follows_the_plain_loop_for_fifty_steps(name: str, digits: Course) -> None:
    some = model_lanes(name, seeds=2, steps=50)
    settings = Settings(batch_size=16, evaluate_every=20)
    wanted = [plain(lane, digits, settings) for lane in some]
    for engine in (*ALL, *KERNELS):
        for (losses, model), found in zip(wanted, trained(some, digits, engine, settings), strict=True):
            assert found.complete
            assert found.seen == (0, 20, 40, 50)
            assert found.losses[:3] == pytest.approx(losses[:3], rel=FIRST), engine
            assert found.losses == pytest.approx(losses, rel=LATER), engine
            loss, score = evaluate(model, digits.test, digits.objective)
            assert found.test_losses[-1] == pytest.approx(loss, rel=LATER)
            assert found.scores[-1] == pytest.approx(score, abs=0.0101)


@pytest.mark.parametrize("engine", ALL[:3])
def test_single_lanes_have_the_same_bits_in_every_engine_and_company(engine: str) -> None:
    some = lanes(dense, seeds=5)
    alone = [trained([lane], DATA, "sequential")[0] for lane in some]
    assert trained(some, DATA, engine) == alone
    assert trained(some[::-1], DATA, engine) == alone[::-1]


def test_stacked_lanes_hardly_depend_on_their_company() -> None:
    some = lanes(dense, seeds=5)
    whole = trained(some, DATA, "stacked,group=5")
    assert trained(some, DATA, "stacked,group=5") == whole
    for one, other in zip(whole, trained(some[::-1], DATA, "stacked,group=2")[::-1], strict=True):
        assert one.losses == pytest.approx(other.losses, rel=1e-5)
        assert one.scores == other.scores


@pytest.mark.parametrize("engine", [*ALL, *KERNELS])
@pytest.mark.parametrize("model", [normed, dense])
def test_models_with_buffers(model: Callable[[], nn.Module], engine: str) -> None:
    some = lanes(model, seeds=4)
    for lane, found in zip(some, trained(some, DATA, engine), strict=True):
        losses, finished = plain(lane, DATA, SETTINGS)
        assert found.losses == pytest.approx(losses, rel=1e-3)
        assert found.test_losses[-1] == pytest.approx(evaluate(finished, DATA.test, DATA.objective)[0], rel=1e-3)


@pytest.mark.parametrize("engine", ["sequential", "processes,workers=2", "sequential,onednn"])
def test_dropout_depends_on_the_lane_alone(engine: str) -> None:
    some = lanes(dropped)
    found = trained(some, DATA, engine)
    assert found == [trained([lane], DATA, engine)[0] for lane in some]
    assert found[2].losses == pytest.approx(plain(some[2], DATA, SETTINGS)[0], rel=1e-4)


@pytest.mark.parametrize("engine", ALL[:3])
def test_lstm(engine: str) -> None:
    some = lanes(Rows)
    assert trained(some, DATA, engine)[3].losses == pytest.approx(plain(some[3], DATA, SETTINGS)[0], rel=1e-5)


@pytest.mark.parametrize("engine", [*ALL, *KERNELS])
def test_each_lane_has_its_own_rate_seed_and_number_of_steps(engine: str) -> None:
    first = lanes(dense, seeds=1)[0]
    some = [replace(first, seed=seed, rate=rate, steps=n) for seed in (0, 1) for rate in (0.01, 0.3) for n in (3, 7)]
    for lane, found in zip(some, trained(some, DATA, engine), strict=True):
        assert found.losses == pytest.approx(plain(lane, DATA, SETTINGS)[0], rel=1e-4)
        assert found.seen == ((0, 3) if lane.steps == 3 else (0, 4, 7))


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("clip", [None, 0.5])
@pytest.mark.parametrize("engine", ["sequential", "stacked,group=3"])
def test_optimizers_are_torchs(optimizer: Any, clip: float | None, engine: str) -> None:
    settings = replace(SETTINGS, optimizer=optimizer, clip=clip)
    some = lanes(dense, seeds=3, rate=0.1 if optimizer == "sgd" else 0.01)
    for lane, found in zip(some, trained(some, DATA, engine, settings), strict=True):
        assert found.losses == pytest.approx(plain(lane, DATA, settings)[0], rel=1e-4)


@pytest.mark.parametrize("engine", [*ALL, *KERNELS])
def test_a_lane_that_diverges_touches_no_other(engine: str) -> None:
    def wild() -> nn.Module:
        model = dense()
        with torch.no_grad():
            model[1].weight.mul_(1e25)  # pyright: ignore
        return model

    good = lanes(dense, seeds=4)
    some = [good[0], replace(good[1], build=wild), *good[2:]]
    found = trained(some, DATA, engine)
    assert 1 <= len(found[1].losses) < 10
    assert not math.isfinite(found[1].losses[-1])
    assert all(map(math.isfinite, found[1].losses[:-1]))
    assert found[1].complete
    assert found[1].seen[-1] <= len(found[1].losses)
    for place in (0, 2, 3):
        assert found[place].losses == pytest.approx(plain(good[place], DATA, SETTINGS)[0], rel=1e-4)
        assert found[place].seen == (0, 4, 8, 10)


@pytest.mark.parametrize("engine", ALL)
def test_regression_and_tokens(engine: str) -> None:
    generator = torch.Generator().manual_seed(2)
    inputs = torch.randn(60, 6, generator=generator)
    targets = inputs @ torch.randn(6, 3, generator=generator)
    numbers = course(((inputs, targets), (inputs[:20], targets[:20])))
    words = torch.randint(7, (60, 5), generator=generator)
    tokens = course(((words, words.roll(-1, 1)), (words[:20], words[:20].roll(-1, 1))))
    for data, build in ((numbers, lambda: nn.Linear(6, 3)), (tokens, lambda: nn.Embedding(7, 7))):
        some = lanes(build)
        for lane, found in zip(some, trained(some, data, engine), strict=True):
            losses, model = plain(lane, data, SETTINGS)
            assert found.losses == pytest.approx(losses, rel=1e-5)
            assert (found.test_losses[-1], found.scores[-1]) == pytest.approx(
                evaluate(model.eval(), data.test, data.objective), rel=1e-5
            )


@pytest.mark.parametrize("engine", ["auto", *ALL])
def test_surroundings_are_the_callers_again(engine: str) -> None:
    def careless() -> nn.Module:
        model = dense()
        torch.set_default_dtype(torch.float64)
        return model

    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    torch.manual_seed(9)
    before = torch.get_rng_state()
    try:
        with torch.no_grad():
            assert len(list(train_lanes(lanes(careless), DATA, SETTINGS, engine=engine))) == 4
            assert not torch.is_grad_enabled()
        assert torch.equal(torch.get_rng_state(), before)
        assert torch.get_num_threads() == 2
        assert torch.get_default_dtype() == torch.float32
        stream = train_lanes(lanes(dense), DATA, SETTINGS, engine=engine)
        next(stream)
        stream.close()  # pyright: ignore
        assert torch.equal(torch.get_rng_state(), before)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("engine", ALL)
def test_progress_ends_with_the_last_step(engine: str) -> None:
    told: dict[int, tuple[int, float]] = {}

    def watch(lane: int, step: int, loss: float) -> None:
        assert step >= told.get(lane, (0, 0.0))[0]
        told[lane] = (step, loss)

    found = dict(train_lanes(lanes(dense), DATA, SETTINGS, engine=engine, progress=watch))
    assert told == {index: (10, done.losses[-1]) for index, done in found.items()}


@pytest.mark.parametrize("engine", ALL)
def test_a_models_own_error_comes_out(engine: str) -> None:
    class Broken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = dense()

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            if self.training:
                raise ZeroDivisionError("the model's own")
            return self.inner(inputs)

    with pytest.raises(ZeroDivisionError, match="the model's own"):
        list(train_lanes(lanes(Broken), DATA, SETTINGS, engine=engine))


def test_no_lanes() -> None:
    assert list(train_lanes([], DATA, SETTINGS)) == []
    assert list(train_lanes([], DATA, SETTINGS, engine="processes")) == []


def test_the_order_of_samples_is_the_seeds() -> None:
    seen: dict[int, list[list[float]]] = {}

    class Spy(nn.Module):
        def __init__(self, seed: int) -> None:
            super().__init__()
            self.inner, self.seed = dense(), seed

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            if self.training:
                seen.setdefault(self.seed, []).append(inputs[:, 0, 0, 0].tolist())
            return self.inner(inputs)

    some = [Lane("a", seed, 0.1, lambda seed=seed: Spy(seed), 4) for seed in (0, 1)]
    trained(some, DATA, "sequential")
    for seed in (0, 1):
        order = batches(200, replace(SETTINGS, steps=4), seed)
        assert seen[seed] == [DATA.train[0][chosen, 0, 0, 0].tolist() for chosen in order]
    assert seen[0] != seen[1]


def test_partial_results_hold_only_what_was_seen() -> None:
    assert Trained((1.0,), (0,), (2.0,), (0.1,), False).complete is False
