"""Fully connected networks: structure, formula, options, errors."""

import pytest
import torch
from torch import nn

from fanin import ArgumentError, UnknownNameError
from fanin.models import mlp


def names(model):
    return [name for name, _ in model.named_children()]


def test_structure():
    assert names(mlp([3, 4, 5, 6])) == ["flatten", "fc1", "act1", "fc2", "act2", "fc3"]
    assert names(mlp([3, 4, 2], norm="layer")) == ["flatten", "fc1", "norm1", "act1", "fc2"]
    assert names(mlp([3, 2])) == ["flatten", "fc1"]


def test_formula():
    model, x = mlp([6, 4, 3], "tanh"), torch.randn(5, 2, 3)
    hidden = torch.tanh(x.reshape(5, 6) @ model.fc1.weight.T + model.fc1.bias)
    torch.testing.assert_close(model(x), hidden @ model.fc2.weight.T + model.fc2.bias)


@pytest.mark.parametrize(("norm", "kind"), [("batch", nn.BatchNorm1d), ("layer", nn.LayerNorm), ("rms", nn.RMSNorm)])
def test_norms(norm, kind):
    model = mlp([6, 4, 3], norm=norm)
    assert type(model.norm1) is kind
    assert model(torch.randn(5, 6)).shape == (5, 3)


def test_norm_factory_gets_the_width():
    assert mlp([6, 4, 3], norm=lambda width: nn.GroupNorm(2, width)).norm1.num_channels == 4


def test_without_bias():
    assert [name for name, _ in mlp([3, 4, 2], bias=False).named_parameters()] == ["fc1.weight", "fc2.weight"]


@pytest.mark.parametrize("widths", [[], [3], [3, 0], [3, -1, 2], [3, 2.0], [True, 2]])
def test_bad_widths(widths):
    with pytest.raises(ArgumentError) as caught:
        mlp(widths)
    assert str(caught.value) == f"mlp widths must be at least 2 positive integers, got {tuple(widths)}"


def test_unknown_norm():
    with pytest.raises(UnknownNameError) as caught:
        mlp([3, 4, 2], norm="bach")
    assert str(caught.value) == "unknown normalisation 'bach'; did you mean 'batch'? Known: batch, layer, rms."
    with pytest.raises(ArgumentError, match="norm must be None, a name or a factory from a width to a module, got 3"):
        mlp([3, 4, 2], norm=3)
