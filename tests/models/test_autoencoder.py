"""Autoencoders: structure, mirrored shapes, published sizes, options, errors."""

from itertools import pairwise

import pytest
import torch
from torch import nn

import fanin
from fanin import ArgumentError
from fanin.models import autoencoder, example_inputs


def names(model):
    return [name for name, _ in model.named_children()]


def test_dense_structure():
    model = autoencoder((5, 3), shape=(1, 2, 4), norm="layer")
    assert names(model.encoder) == ["images", "flatten", "fc1", "norm1", "act1", "fc2"]
    assert names(model.decoder) == ["fc1", "norm1", "act1", "fc2", "images", "output"]
    widths = [each.weight.shape for each in model.modules() if isinstance(each, nn.Linear)]
    assert widths == [(5, 8), (3, 5), (5, 3), (8, 5)]


def test_convolutional_structure():
    model = autoencoder((6, 3), shape=(2, 8, 12), channels=(4, 5), norm="batch")
    assert names(model.encoder) == [
        *["images", "conv1", "norm1", "act1", "conv2", "norm2", "act2", "flatten"],
        *["fc3", "norm3", "act3", "fc4"],
    ]
    assert names(model.decoder) == [
        *["fc1", "norm1", "act1", "fc2", "images", "norm2", "act2"],
        *["deconv3", "norm3", "act3", "deconv4", "output"],
    ]
    assert model.encoder.fc3.in_features == 5 * 2 * 3 == model.decoder.fc2.out_features
    assert model.decoder.deconv4.weight.shape == (4, 2, 4, 4)
    assert model(torch.randn(3, 2 * 8 * 12)).shape == (3, 2, 8, 12)


def test_formula():
    torch.manual_seed(0)
    model, x = autoencoder((5, 3), shape=(1, 2, 4), activation="tanh", output="sigmoid"), torch.randn(6, 1, 2, 4)
    first, second = model.encoder.fc1, model.encoder.fc2
    code = torch.tanh(x.flatten(1) @ first.weight.T + first.bias) @ second.weight.T + second.bias
    torch.testing.assert_close(model.encoder(x), code)
    first, second = model.decoder.fc1, model.decoder.fc2
    pixels = torch.sigmoid(torch.tanh(code @ first.weight.T + first.bias) @ second.weight.T + second.bias)
    torch.testing.assert_close(model(x), pixels.reshape(6, 1, 2, 4))


def test_hintons_sizes():
    """784-1000-500-250-30 and back."""
    widths = (784, 1000, 500, 250, 30)
    both = (*widths, *widths[-2::-1])
    expected = sum(fan_in * fan_out + fan_out for fan_in, fan_out in pairwise(both))
    model = autoencoder()
    assert sum(each.numel() for each in model.parameters()) == expected
    macs = sum(fan_in * fan_out for fan_in, fan_out in pairwise(both))
    assert fanin.count(model, example_inputs(model)).macs == macs


def test_options():
    model = autoencoder((4,), shape=(1, 4, 4), bias=False, dropout=0.3, activation="silu", channels=(2,))
    assert model.encoder.drop.p == 0.3
    assert not [name for name, _ in model.named_parameters() if name.endswith("bias")]
    assert type(model.encoder.act1) is nn.SiLU
    assert type(model.decoder.act1) is nn.SiLU
    assert type(model.decoder.output) is nn.Identity


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"widths": ()}, "autoencoder widths must be at least 1 positive integers, got ()"),
        ({"widths": (4, 0)}, "autoencoder widths must be at least 1 positive integers, got (4, 0)"),
        ({"channels": (4, 0)}, "autoencoder channels must be at least 0 positive integers, got (4, 0)"),
        ({"channels": (4, 4, 4)}, "autoencoder: convolution 3 of 3 would halve an image of 7×7, and a side is odd: "
         "give fewer channels"),
        ({"shape": (28, 28)}, "autoencoder shape must be at least 3 positive integers, got (28, 28)"),
        ({"dropout": 1}, "autoencoder: dropout must be at least 0 and below 1, got 1"),
    ],
)  # fmt: skip
def test_bad_arguments(options, message):
    with pytest.raises(ArgumentError) as caught:
        autoencoder(**options)
    assert str(caught.value) == message
