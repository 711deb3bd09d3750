"""`auto` on sines with a factor: SIREN's own start, read off the code."""

from __future__ import annotations

from math import sqrt

import pytest
import torch
from torch import nn

from fanin.initializers import Normal
from fanin.models.layers.sine import Sine
from fanin.models.siren import siren
from fanin.torch.planning import initialize, plan

PLACES = torch.zeros(5, 2)


@pytest.mark.parametrize("depth", [3, 5, 14])
@pytest.mark.parametrize("omega", [2.0, 30.0, 300.0])
def test_a_network_of_sines_has_the_start_of_its_paper(depth, omega):
    model = siren(depth, width=64, omega=omega)
    ours, theirs = plan(model, "auto", PLACES), plan(model, f"siren,omega={omega:g}", PLACES)
    for name in dict(model.named_parameters()):
        if omega > 2 or name != "fc1.weight":
            assert ours[name].initializer == theirs[name].initializer, name
    assert "2006.09661" in ours["fc1.weight"].source
    assert "2006.09661" in ours["fc2.bias"].source


def test_words():
    steps = plan(siren(3, width=64), "auto", PLACES)
    assert steps["fc1.weight"].why == "sin(30) follows the first layer: uniform within 1/2"
    assert steps["fc2.weight"].why == ("sin(30) follows, and what enters it has variance 1: uniform within √(6/64)/30")
    assert steps["fc3.weight"].why == ("reads sin(30), as narrow as the weights before it: uniform within √(6/64)/30")


def test_the_plain_sine_stays_as_it_was():
    steps = plan(siren(3, width=64, omega=1.0), "auto", PLACES)
    assert isinstance(steps["fc1.weight"].initializer, Normal)
    assert steps["fc1.weight"].initializer.std == pytest.approx(1 / sqrt(2))
    assert steps["fc2.bias"].initializer.moments((64,)) == (0.0, 0.0)


def test_each_sine_has_its_own_factor():
    model = siren(3, width=64, omega=10.0, first_omega=60.0)
    steps = plan(model, "auto", PLACES)
    assert steps["fc2.weight"].initializer.high == pytest.approx(sqrt(6 / 64) / 10)
    assert steps["fc1.weight"].initializer.high == 0.5


@pytest.mark.parametrize(
    "before", [(), (nn.Linear(64, 64), nn.LayerNorm(64)), (nn.Linear(64, 64), nn.ReLU())], ids=["wide", "norm", "relu"]
)
def test_what_enters_a_sine_has_unit_variance(before):
    """Also for a first layer of so many inputs that 1/fan-in would be narrower, and behind what is no sine."""
    omega, seen = 5.0, []
    for seed in range(40):
        model = nn.Sequential(*before, nn.Linear(64, 64, bias=False), Sine(omega), nn.Linear(64, 4))
        initialize(model, "auto", torch.zeros(2, 64), seed=seed)
        signal = torch.randn(64, 64, generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():
            entering = omega * model[: len(before) + 1](signal)
        seen.append(entering.square().mean().item())
    values = torch.tensor(seen)
    assert abs(values.mean().item() - 1) < 5 * values.std().item() / sqrt(len(seen))
    assert values.std().item() / sqrt(len(seen)) < 0.05
