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


def widths(model):
    layers = [module for module in model if isinstance(module, nn.Linear)]
    return [layers[0].in_features, *(each.out_features for each in layers)]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [784, 128, 128, 10]),
        ({"widths": (6, 3), "depth": 4, "width": 5}, [6, 5, 5, 5, 3]),
        ({"widths": (6, 3), "width": 5}, [6, 5, 5, 3]),
        ({"widths": (6, 3), "depth": 2}, [6, 128, 3]),
        ({"widths": (6, 3), "depth": 1}, [6, 3]),
        ({"depth": 2, "width": 5, "shape": (2, 3), "classes": 4}, [6, 5, 4]),
        ({"widths": (6, 5, 4), "shape": (2, 3), "classes": 4}, [6, 5, 4]),
        ({"shape": (7,)}, [7, 128, 128, 10]),
    ],
)
def test_sizes(options, expected):
    assert widths(mlp(**options)) == expected


def test_depth_counts_layers_with_weights():
    model = mlp([784, 10], depth=100, width=8)
    assert sum(isinstance(module, nn.Linear) for module in model) == 100
    assert hasattr(model, "act99")
    assert not hasattr(model, "act100")


def test_dropout_follows_hidden_activations():
    model = mlp([3, 4, 4, 2], dropout=0.5)
    assert names(model) == ["flatten", "fc1", "act1", "drop1", "fc2", "act2", "drop2", "fc3"]
    assert model.drop2.p == 0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"widths": (784, 10), "shape": (1, 14, 14)}, "mlp: a sample has 196 features (1×14×14), but the first of the "
         "widths is 784"),
        ({"widths": (784, 10), "classes": 7}, "mlp: there are 7 classes, but the last of the widths is 10"),
        ({"widths": (784, 5, 10), "depth": 3}, "mlp: depth and width fill in between two widths, as 784-10, and there "
         "are 3 of them"),
        ({"depth": 0}, "mlp: depth must be a positive integer, got 0"),
        ({"width": 2.0}, "mlp: width must be a positive integer, got 2.0"),
        ({"classes": 0}, "mlp: classes must be a positive integer, got 0"),
        ({"shape": ()}, "mlp shape must be at least 1 positive integers, got ()"),
        ({"shape": (2, 0)}, "mlp shape must be at least 1 positive integers, got (2, 0)"),
        ({"dropout": 1.5}, "mlp: dropout must be at least 0 and below 1, got 1.5"),
        ({"dropout": True}, "mlp: dropout must be at least 0 and below 1, got True"),
    ],
)  # fmt: skip
def test_sizes_that_cannot_be(options, message):
    with pytest.raises(ArgumentError) as caught:
        mlp(**options)
    assert str(caught.value) == message
