"""Activations by name, function, module and factory."""

import pytest
import torch
from torch import nn

from fanin import ArgumentError, UnknownNameError
from fanin.models import mlp
from fanin.models.activations import ACTIVATIONS, Elementwise, activation_module


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_name_runs(name):
    assert mlp([3, 4, 2], name)(torch.randn(5, 3)).isfinite().all()


@pytest.mark.parametrize(
    "function", [torch.sin, torch.nn.functional.silu, lambda x: x * x], ids=["builtin", "F", "lambda"]
)
def test_functions(function):
    x = torch.randn(7)
    module = activation_module(function)
    assert isinstance(module, Elementwise)
    torch.testing.assert_close(module(x), function(x))


@pytest.mark.parametrize("factory", [nn.PReLU, lambda: nn.PReLU(), nn.PReLU()], ids=["class", "lambda", "module"])
def test_each_layer_gets_its_own(factory):
    model = mlp([3, 4, 4, 2], factory)
    assert type(model.act1) is nn.PReLU
    assert model.act1.weight is not model.act2.weight


def test_unknown_name():
    with pytest.raises(UnknownNameError, match="unknown activation 'rellu'; did you mean "):
        mlp([3, 4, 2], "rellu")


def test_not_an_activation():
    with pytest.raises(ArgumentError, match=r"activation must be a name, a function or a module, got 3"):
        mlp([3, 4, 2], 3)
    with pytest.raises(ArgumentError, match=r"must return a torch.nn.Module, got 'relu'"):
        mlp([3, 4, 2], lambda: "relu")


def test_shows_its_function():
    assert str(activation_module(torch.sin)) == "Elementwise(sin)"
