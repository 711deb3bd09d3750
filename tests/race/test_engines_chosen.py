"""Methods as texts, engines that refuse, and the probe."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn

import fanin
from fanin.errors import ArgumentError, UnknownNameError
from fanin.race.engines import Lane, Method, choose_engine, train_lanes
from fanin.race.engines.kernels import placed
from fanin.race.engines.units import Task

from .lanes_to_train import SETTINGS, images, lanes, plain, trained

DATA = images()


def small() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(196, 12), nn.ReLU(), nn.Linear(12, 10))


@pytest.mark.parametrize(
    ("text", "method"),
    [
        ("sequential", Method()),
        ("threads,workers=3", Method("threads", 3)),
        ("processes,workers=2,threads=4,channels_last,onednn", Method("processes", 2, 4, 1, True, True)),
        ("stacked,workers=2,group=8", Method("stacked", 2, group=8)),
    ],
)
def test_a_method_is_a_text(text: str, method: Method) -> None:
    assert Method.parse(text) == method
    assert str(method) == text


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("vmap", UnknownNameError, "unknown engine 'vmap'. Known: auto, processes, sequential, stacked, threads"),
        ("threads,worker=2", UnknownNameError, "unknown engine option 'worker'; did you mean 'workers'?"),
        ("threads,workers=0", ArgumentError, "engine 'threads': workers must be at least 1, got 0"),
        ("threads,workers=two", ArgumentError, "write workers=NUMBER, once, got 'workers=two'"),
        ("threads,workers", ArgumentError, "write workers=NUMBER, once, got 'workers'"),
        ("threads,workers=2,workers=2", ArgumentError, "write workers=NUMBER, once, got 'workers=2'"),
        ("threads,onednn=1", ArgumentError, "write onednn alone, once, got 'onednn=1'"),
        ("sequential,workers=2", ArgumentError, "engine 'sequential' has one worker: take 'threads' or 'processes'"),
        ("threads,group=2", ArgumentError, "engine 'threads' stacks nothing: take 'stacked' for groups of 2"),
        ("stacked,onednn", ArgumentError, "engine 'stacked' has neither channels_last nor onednn"),
    ],
)
def test_bad_methods(text: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        train_lanes(lanes(small), DATA, SETTINGS, engine=text)


class Branching(nn.Module):
    """Flow that depends on data."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = small()

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.inner(inputs if inputs.sum() > 0 else -inputs)


class Leaking(nn.Module):
    """Uses a tensor that is neither parameter nor buffer, so that a stack would have one lane's for all."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = small()
        self.offset = torch.randn(10)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.inner(inputs) + self.offset


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(14, 10, batch_first=True)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.lstm(inputs[:, 0])[0][:, -1]


def dropped() -> nn.Module:
    return nn.Sequential(small(), nn.Dropout(0.5))


@pytest.mark.parametrize(
    ("build", "engine", "reason"),
    [
        (dropped, "threads,workers=2", "it draws random numbers while it trains"),
        (dropped, "stacked,group=4", r"torch.func.vmap refuses it \(vmap: called random operation"),
        (Branching, "stacked,group=4", r"torch.func.vmap refuses it \(vmap: It looks like you're"),
        (Recurrent, "stacked,group=4", r"torch.func.vmap refuses it \(Batching rule not implemented for aten::lstm"),
        (Leaking, "stacked,group=4", "stacked lanes get other losses"),
    ],
)
def test_an_engine_says_why_it_cannot(build: Callable[[], nn.Module], engine: str, reason: str) -> None:
    with pytest.raises(ArgumentError, match=f"engine '{engine}' cannot train this model: {reason}.*; take 'auto' or"):
        train_lanes(lanes(build), DATA, SETTINGS, engine=engine)


def chaotic() -> nn.Module:
    """He's gain for tanh: 100 layers make much of a rounding."""
    layers = [nn.Sequential(nn.Linear(196, 196), nn.Tanh()) for _ in range(100)]
    model = nn.Sequential(nn.Flatten(), *layers, nn.Linear(196, 10))
    fanin.initialize(model, "he", seed=torch.initial_seed() % 7)
    return model


def test_a_chosen_method_is_not_tried_again() -> None:
    some = lanes(chaotic, 2, rate=0.3, steps=2)
    with pytest.raises(ArgumentError, match="stacked lanes get other losses"):
        train_lanes(some, DATA, SETTINGS, engine="stacked,group=2")
    chosen = Method.parse("stacked,group=2")
    assert {index for index, _ in train_lanes(some, DATA, SETTINGS, engine=chosen)} == {0, 1}


@pytest.mark.parametrize("build", [dropped, Branching, Recurrent, Leaking])
def test_auto_falls_back(build: Callable[[], nn.Module], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fanin.race.engines.probe.BRIEF", 0.0)
    some = lanes(build)
    choice = choose_engine(some, DATA, SETTINGS)
    assert choice.method.engine != "stacked"
    assert "stacked" in choice.refused
    assert str(choice.method) in choice.seconds
    for lane, done in zip(some, trained(some, DATA, str(choice.method)), strict=True):
        assert done.losses == pytest.approx(plain(lane, DATA, SETTINGS)[0], rel=1e-3)


def test_the_probe_takes_the_fastest_and_disturbs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fanin.race.engines.probe.BRIEF", 0.0)
    torch.manual_seed(3)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    choice = choose_engine(lanes(small), DATA, SETTINGS)
    assert choice.seconds[str(choice.method)] == min(choice.seconds.values())
    assert {text.split(",")[0] for text in choice.seconds} >= {"sequential", "stacked"}
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads
    assert not choice.refused


def test_short_work_is_not_probed() -> None:
    choice = choose_engine(lanes(small), DATA, SETTINGS)
    assert choice.method == Method()
    assert list(choice.seconds) == ["sequential"]


def test_estimates_count_workers_and_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fanin.race.engines.probe.BRIEF", 0.0)
    few, many = (
        choose_engine([replace(lane, steps=steps) for lane in lanes(small)], DATA, SETTINGS).seconds["sequential"]
        for steps in (100, 10_000)
    )
    assert 10 < many / few < 1000


@pytest.mark.parametrize(
    ("method", "steps", "units"),
    [
        (Method("processes", 2), (1, 1, 5, 1), [(2,), (0,), (1,), (3,)]),
        (Method("stacked", group=3), (1, 1, 1, 1), [(0, 1), (2, 3)]),
        (Method("stacked", group=3), (2, 1, 1, 1), [(0,), (1, 2, 3)]),
        (Method("stacked", workers=2, group=8), (1,) * 6, [(0, 1, 2), (3, 4, 5)]),
        (Method("stacked", group=16), (1,) * 3, [(0, 1, 2)]),
    ],
)
def test_units(method: Method, steps: tuple[int, ...], units: list[tuple[int, ...]]) -> None:
    some = [Lane("a", seed, 0.1, small, count) for seed, count in enumerate(steps)]
    assert Task(some, DATA, SETTINGS, method).units() == units


def test_a_stack_has_one_rate() -> None:
    some = [Lane("a", seed, rate, small, 1) for seed in range(2) for rate in (0.1, 0.2)]
    assert Task(some, DATA, SETTINGS, Method("stacked", group=4)).units() == [(0, 2), (1, 3)]


@pytest.mark.parametrize("shape", [(5, 160), (2, 3, 160), (1, 160)])
@pytest.mark.parametrize("bias", [True, False])
def test_onednn_gives_a_dense_layers_values_and_gradients(shape: tuple[int, ...], bias: bool) -> None:
    layer = nn.Linear(160, 110, bias=bias)
    other = placed(copy.deepcopy(layer), Method(onednn=True))
    inputs = torch.randn(shape, requires_grad=True)
    pairs: list[list[torch.Tensor]] = []
    for module, replaced in ((layer, False), (other, True)):
        inputs.grad = None
        outputs = module(inputs)
        (outputs**2).sum().backward()
        assert ("_Dense" in type(outputs.grad_fn).__name__) == replaced
        assert inputs.grad is not None
        pairs.append(
            [outputs.detach(), inputs.grad, *(each.grad for each in module.parameters() if each.grad is not None)]
        )
    for one, other in zip(*pairs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_onednn_leaves_other_dtypes_and_small_layers_alone() -> None:
    layer = placed(nn.Linear(160, 110), Method(onednn=True))
    assert layer(torch.ones(0, 160)).shape == (0, 110)
    assert layer.double()(torch.ones(1, 160).double()).dtype == torch.float64
    for other in (nn.Linear(3, 2), nn.Linear(160, 110).double(), Doubled(160, 110)):
        assert "forward" not in vars(placed(other, Method(onednn=True)))


def test_onednn_leaves_a_layer_inside_of_vmap_alone() -> None:
    layer = nn.Linear(160, 110)
    inputs = torch.randn(3, 2, 160)
    expected = layer(inputs)
    found = torch.func.vmap(placed(layer, Method(onednn=True)))(inputs)
    torch.testing.assert_close(found, expected)


class Doubled(nn.Linear):
    """Has a forward of its own."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(inputs)


def test_another_device_is_used() -> None:
    assert DATA.to("meta").train[0].device.type == "meta"
    some = [Lane("a", 0, 0.1, small, 2)]
    with pytest.raises((NotImplementedError, RuntimeError), match="meta"):  # a loss without a value
        list(train_lanes(some, DATA, SETTINGS, engine="sequential", device="meta"))
    with pytest.raises(ArgumentError, match="the data is not on the CPU"):
        train_lanes(some, DATA, SETTINGS, engine="processes", device="meta")
