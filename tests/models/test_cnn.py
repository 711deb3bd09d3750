"""Convolutional classifiers: structure, formula, options, errors."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fanin import ArgumentError, UnknownNameError
from fanin.models import cnn


def names(model):
    return [name for name, _ in model.named_children()]


def test_structure():
    assert names(cnn((1, 8, 8), [2, 3], 4)) == [
        *["images", "conv1", "act1", "pool1", "conv2", "act2", "pool2"],
        *["flatten", "dense"],
    ]
    assert names(cnn((1, 8, 8), [2], 4, norm="batch", pool=1)) == [
        "images",
        "conv1",
        "norm1",
        "act1",
        "flatten",
        "dense",
    ]


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("pool", [1, 2, 3])
def test_formula(kernel, pool):
    model, x = cnn((2, 9, 7), [3], 4, "tanh", kernel=kernel, pool=pool), torch.randn(5, 2, 9, 7)
    image = torch.tanh(F.conv2d(x, model.conv1.weight, model.conv1.bias, padding=kernel // 2))
    image = F.max_pool2d(image, pool) if pool > 1 else image
    expected = image.flatten(1) @ model.dense.weight.T + model.dense.bias
    torch.testing.assert_close(model(x), expected)


def test_flat_samples_are_the_same():
    model, x = cnn((2, 6, 6), [3], 4), torch.randn(5, 2, 6, 6)
    assert torch.equal(model(x), model(x.flatten(1)))


def test_samples_of_another_size_are_refused_not_regrouped():
    with pytest.raises(RuntimeError):
        cnn((1, 6, 6), [3], 4)(torch.randn(5, 1, 12, 6))


@pytest.mark.parametrize(
    ("norm", "kind"), [("batch", nn.BatchNorm2d), ("instance", nn.InstanceNorm2d), ("layer", nn.GroupNorm)]
)
def test_norms(norm, kind):
    model = cnn((1, 8, 8), [4], 3, norm=norm)
    assert type(model.norm1) is kind
    assert model(torch.randn(5, 64)).shape == (5, 3)


def test_without_bias():
    names = [name for name, _ in cnn((1, 8, 8), [4], 3, bias=False).named_parameters()]
    assert names == ["conv1.weight", "dense.weight"]


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (((1, 8), [2], 3), {}, "cnn shape must be at least 3 positive integers, got (1, 8)"),
        (
            ((1, 8, 8, 8), [2], 3),
            {},
            "cnn needs a shape (channels, height, width), got (1, 8, 8, 8)",
        ),
        (((1, 8, 8), [], 3), {}, "cnn channels must be at least 1 positive integers, got ()"),
        (((1, 8, 8), [2], 0), {}, "cnn classes, kernel and pool must be at least 3 positive integers, got (0, 3, 2)"),
        (
            ((1, 8, 8), [2], 3),
            {"kernel": 4},
            "cnn needs an odd kernel, got 4",
        ),
        (((1, 8, 8), [2] * 4, 3), {}, "cnn: pooling by 2 after each of 4 blocks leaves nothing of (1, 8, 8)"),
    ],
)
def test_bad_arguments(arguments, options, message):
    with pytest.raises(ArgumentError) as caught:
        cnn(*arguments, **options)
    assert str(caught.value) == message


def test_unknown_norm():
    with pytest.raises(UnknownNameError, match=r"unknown normalisation 'rms'\. Known: batch, instance, layer"):
        cnn((1, 8, 8), [2], 3, norm="rms")
