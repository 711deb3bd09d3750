"""The parts of a step: optimizers as functions, pools before ReLU, memory that a process keeps."""

from __future__ import annotations

import ctypes
import resource
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fanin.race.engines.forks import in_forks
from fanin.race.engines.optimizers import Optimizer, clipped
from fanin.race.engines.pooling import pool_first
from fanin.race.settings import Settings


class Odd(nn.Module):
    """A scalar, a parameter that is not used, one that is frozen, and one used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(6, 6)
        self.scale = nn.Parameter(torch.tensor(1.5))
        self.unused = nn.Parameter(torch.ones(3))
        self.frozen = nn.Parameter(torch.ones(6), requires_grad=False)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.scale * self.inner(self.inner(inputs).relu()) + self.frozen


def filters() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 3)).to(memory_format=torch.channels_last)  # pyright: ignore


CLASSES = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.01, momentum=0.9),
    "adam": lambda parameters: torch.optim.Adam(parameters, lr=0.01),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=0.01),
}


@pytest.mark.parametrize("clip", [None, 0.3])
@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize(("build", "shape"), [(Odd, (4, 6)), (filters, (4, 3, 8, 8))])
def test_five_steps_are_those_of_torchs_classes(build: Any, shape: tuple[int, ...], name: Any, clip: Any) -> None:
    one = build()
    other = deepcopy(one)
    rule, theirs = Optimizer(one.parameters(), Settings(optimizer=name), 0.01), CLASSES[name](other.parameters())
    inputs = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    for _ in range(5):
        gradients = rule.gradients(one(inputs).square().mean())
        rule.step(gradients if clip is None else clipped(gradients, clip))
        theirs.zero_grad()
        other(inputs).square().mean().backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(other.parameters(), clip)
        theirs.step()
    for mine, yours in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(mine, yours, rtol=1e-5, atol=1e-7)
        assert mine.grad is None


def test_clipping_is_lane_by_lane_and_changes_no_gradient() -> None:
    gradients = [torch.tensor([3.0, 0.3]), None, torch.tensor([[4.0], [0.4]])]
    found = clipped(gradients, 1.0, lanes=2)
    assert found[1] is None
    torch.testing.assert_close(found[0], torch.tensor([0.6, 0.3]), rtol=1e-5, atol=0)
    torch.testing.assert_close(found[2], torch.tensor([[0.8], [0.4]]), rtol=1e-5, atol=0)
    assert gradients[0] is not None
    assert gradients[0].tolist() == [3.0, pytest.approx(0.3)]
    assert clipped([None], 1.0) == [None]


class Walking(nn.Module):
    """Goes through its layers itself and keeps what a ReLU gives."""

    def __init__(self, layers: nn.Sequential) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, inputs: Tensor) -> Tensor:
        kept = inputs.new_zeros(())
        for layer in self.layers:
            inputs = layer(inputs)
            kept = kept + inputs.mean() if isinstance(layer, nn.ReLU) else kept
        return inputs + kept


def pooled(pool: nn.Module, *, inplace: bool = False) -> nn.Sequential:
    body = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(inplace=inplace), pool, nn.Conv2d(6, 4, 3, padding=1))
    return nn.Sequential(body, nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.Flatten())


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("pool", [nn.MaxPool2d(2), nn.MaxPool2d(3, 2, 1, ceil_mode=True), nn.MaxPool2d(2, dilation=2)])
def test_a_pool_before_relu_gives_the_same_bits(pool: nn.Module, inplace: bool) -> None:
    torch.manual_seed(0)
    model = pooled(pool, inplace=inplace)
    swapped = deepcopy(model)
    pool_first(swapped)
    counts = [_relus(each, torch.randn(5, 1, 13, 13)) for each in (model, swapped)]
    assert counts[1] < counts[0] / 2
    inputs = torch.randn(5, 1, 13, 13).round()  # with ties, and windows without a positive value
    for each in (model, swapped):
        each(inputs).square().sum().backward()
    assert torch.equal(model(inputs), swapped(inputs))
    for one, other in zip(model.parameters(), swapped.parameters(), strict=True):
        assert one.grad is not None
        assert other.grad is not None
        assert torch.equal(one.grad, other.grad)


def _relus(model: nn.Module, inputs: Tensor) -> int:
    """Values that ReLU is applied to."""
    counted: list[int] = []
    hooks = [
        module.register_forward_hook(lambda module, given, out: counted.append(out.numel()))
        for module in model.modules()
        if isinstance(module, nn.ReLU)
    ]
    model(inputs)
    for hook in hooks:
        hook.remove()
    return sum(counted)


def test_what_a_model_does_with_its_layers_itself_stays() -> None:
    torch.manual_seed(0)
    model = Walking(pooled(nn.MaxPool2d(2)))
    inputs = torch.randn(2, 1, 12, 12)
    before = model(inputs)
    pool_first(model)
    assert torch.equal(model(inputs), before)


def test_hooks_indices_and_other_activations_are_left_alone() -> None:
    hooked = pooled(nn.MaxPool2d(2))
    hooked[1].register_forward_hook(lambda module, given, out: None)
    hooked[0][1].register_forward_pre_hook(lambda module, given: None)  # pyright: ignore
    leaky = nn.Sequential(nn.LeakyReLU(), nn.MaxPool2d(2))
    indices = nn.Sequential(nn.ReLU(), nn.MaxPool2d(2, return_indices=True))
    for model in (hooked, leaky, indices):
        pool_first(model)
        assert not any("forward" in vars(module) for module in model.modules())


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library is not glibc")
def test_a_process_keeps_the_memory_that_a_step_frees() -> None:
    def step() -> None:
        kept = [torch.ones(250_000) for _ in range(40)]  # 40 MB, as what a forward pass keeps for the backward one
        del kept

    def faults() -> int:
        torch.set_num_threads(1)  # a fork has no other
        for _ in range(3):
            step()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(10):
            step()
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    assert in_forks(faults, 1)[0] < 1000  # of 9,800 for each step
