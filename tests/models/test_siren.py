"""SIREN: formula, the start of the paper, options, errors."""

from math import sqrt

import pytest
import torch
from torch import nn

import fanin
from fanin import ArgumentError
from fanin.models import build, example_inputs, siren


def test_formula():
    torch.manual_seed(0)
    model, x = siren(3, width=8, outputs=3, omega=20.0, first_omega=5.0), torch.rand(6, 2) * 2 - 1
    hidden = torch.sin(5 * (x @ model.fc1.weight.T + model.fc1.bias))
    hidden = torch.sin(20 * (hidden @ model.fc2.weight.T + model.fc2.bias))
    torch.testing.assert_close(model(x), hidden @ model.fc3.weight.T + model.fc3.bias)


def test_the_default_is_the_network_of_the_papers_notebook():
    """2 → 256, three hidden layers of 256, 1 output."""
    assert sum(each.numel() for each in siren().parameters()) == 3 * 256 + 3 * (256 * 256 + 256) + 257


def test_the_recipe_reads_each_omega_off_the_layers():
    model = build("siren:width=64,omega=20,first_omega=50")
    plan = fanin.plan(model, "siren", example_inputs(model))
    assert plan["fc1.weight"].initializer.high == pytest.approx(1 / 2)
    assert plan["fc2.weight"].initializer.high == pytest.approx(sqrt(6 / 64) / 20)
    # no sine follows the last layer: the recipe's own ω0
    assert plan["fc5.weight"].initializer.high == pytest.approx(sqrt(6 / 64) / 30)


def test_coordinates_are_in_minus_one_to_one():
    inputs = example_inputs("siren:inputs=3", 4000)
    assert inputs.shape == (4000, 3)
    assert -1 <= inputs.min() < -0.99
    assert 0.99 < inputs.max() < 1


def test_options():
    model = siren(2, inputs=1, outputs=4, width=3, bias=False)
    assert [(each.in_features, each.out_features) for each in model if isinstance(each, nn.Linear)] == [(1, 3), (3, 4)]
    assert model.fc1.bias is None
    assert model.sine1.omega == 30
    assert siren(omega=7.0).sine1.omega == 7


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 1}, "siren: depth must be at least 2, so that there is a sine, got 1"),
        ({"width": 0}, "siren: width must be a positive integer, got 0"),
        ({"omega": 0.0}, "siren: omega must be a positive number, got 0.0"),
        ({"first_omega": float("nan")}, "siren: first_omega must be a positive number, got nan"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ArgumentError) as caught:
        siren(**options)
    assert str(caught.value) == message
