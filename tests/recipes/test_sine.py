"""SIREN through real layers: bounds, the frequency that the code multiplies by, the variance it keeps."""

from math import sqrt
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import pytest
import torch

from fanin.recipes import named
from fanin.torch.planning import initialize, plan

MODELS = SimpleNamespace(**run_path(str(Path(__file__).parents[2] / "docs" / "recipes" / "models.py")))
siren = MODELS.siren


@pytest.mark.parametrize("omega", [1.0, 30.0, 300.0])
def test_bounds(omega):
    model = siren(omega=omega)
    steps = initialize(model, "siren", torch.zeros(5, 2))
    hidden = sqrt(6 / 64)
    bounds = {"0.linear.weight": 1 / 2, "1.linear.weight": hidden / omega, "2.linear.weight": hidden / omega}
    for name, bound in {**bounds, "3.weight": hidden / 30}.items():
        law = steps[name].initializer
        assert (law.low, law.high) == pytest.approx((-bound, bound)), name
        assert model.get_parameter(name).abs().max() <= bound
        assert model.get_parameter(name).abs().max() > 0.9 * bound or "0." in name
    assert steps["0.linear.weight"].why == "the first layer: uniform within 1/2"
    assert steps["1.linear.bias"].source.startswith("recipe siren 1: Sitzmann")
    assert steps["1.linear.bias"].initializer.high == pytest.approx(1 / 8)


def test_the_frequency_of_the_last_layer_is_an_option():
    steps = plan(siren(), "siren,omega=60", torch.zeros(5, 2))
    assert steps["3.weight"].initializer.high == pytest.approx(sqrt(6 / 64) / 60)
    assert steps["1.linear.weight"].initializer.high == pytest.approx(sqrt(6 / 64) / 30)


@pytest.mark.parametrize("omega", [1.0, 30.0])
def test_variance_before_the_sines_comes_to_its_fixed_point(omega):
    width, points = 1024, 256
    model = siren(width, 8, omega)
    initialize(model, "siren", torch.zeros(5, 2), seed=3)
    with torch.no_grad():
        # the first sine is saturated by inputs of large range, so that its output has an arcsine law
        signal = 400 / omega * torch.rand(points, 2, generator=torch.Generator().manual_seed(0))
        for layer in model[:-1]:
            layer.linear.bias.zero_()
            before = layer.before(signal)
            signal = torch.sin(before)
    # v = 1 − e^(−2v); given the inputs units are independent, and an error of one layer shrinks by 0.41 in the next
    units = before.double().square().mean(0)
    error = units.std().item() / sqrt(width) / (1 - 0.41)
    assert abs(units.mean().item() - 0.79681) < 5 * error
    assert 5 * error < 0.15


def test_it_cites_its_paper():
    assert "2006.09661" in named("siren").source
