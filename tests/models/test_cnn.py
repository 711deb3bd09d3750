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
        (
            ((1, 8, 8), [2] * 4, 3),
            {},
            "cnn: pooling by 2 after convolution 4 leaves nothing of (1, 8, 8); "
            "pool after fewer of them (pool_after), or not at all (pool=1)",
        ),
    ],
)
def test_bad_arguments(arguments, options, message):
    with pytest.raises(ArgumentError) as caught:
        cnn(*arguments, **options)
    assert str(caught.value) == message


def test_unknown_norm():
    with pytest.raises(UnknownNameError, match=r"unknown normalisation 'rms'\. Known: batch, instance, layer"):
        cnn((1, 8, 8), [2], 3, norm="rms")


def convolutions(model):
    return [module for module in model if isinstance(module, nn.Conv2d)]


def test_defaults():
    assert names(cnn()) == names(cnn((1, 28, 28), (16, 32), 10))
    assert [each.out_channels for each in convolutions(cnn())] == [16, 32]


def test_a_deep_plain_network():
    model = cnn((1, 28, 28), depth=100, width=4, stride_at=(1, 2), head="average")
    assert len(convolutions(model)) == 99
    assert [at for at, each in enumerate(convolutions(model), start=1) if each.stride == (2, 2)] == [1, 2]
    assert not [module for module in model if isinstance(module, nn.MaxPool2d)]
    assert {each.out_channels for each in convolutions(model)} == {4}
    assert model.dense.in_features == 4
    images = nn.Sequential(*list(model)[:3])(torch.randn(2, 784))
    assert images.shape == (2, 4, 14, 14)


def test_pooling_only_where_it_is_said():
    model = cnn((1, 12, 12), (3, 4, 5), 2, pool_after=(2,), pool=3)
    assert [name for name in names(model) if name.startswith("pool")] == ["pool2"]
    assert model.dense.in_features == 5 * 4 * 4
    assert [name for name in names(cnn((1, 12, 12), depth=4, width=3, pool_after=(1, 3))) if "pool" in name] == [
        "pool1",
        "pool3",
    ]


@pytest.mark.parametrize("side", [7, 8])
def test_stride_rounds_up(side):
    model = cnn((1, side, side), (3,), 2, stride_at=(1,), pool=1)
    assert model.dense.in_features == 3 * 16
    assert model(torch.randn(2, side * side)).shape == (2, 2)


def test_head_reads_the_average():
    torch.manual_seed(0)
    model, x = cnn((1, 6, 6), (3,), 2, "tanh", pool=1, head="average"), torch.randn(4, 1, 6, 6)
    image = torch.tanh(F.conv2d(x, model.conv1.weight, model.conv1.bias, padding=1))
    torch.testing.assert_close(model(x), image.mean((2, 3)) @ model.dense.weight.T + model.dense.bias)


def test_circular_padding_goes_around():
    torch.manual_seed(0)
    model, x = cnn((1, 6, 6), (3,), 2, pool=1, padding="circular"), torch.randn(4, 1, 6, 6)
    rolled = model.conv1(torch.roll(x, (2, 3), (2, 3)))
    torch.testing.assert_close(rolled, torch.roll(model.conv1(x), (2, 3), (2, 3)))


def test_dropout_stands_before_the_dense_layer():
    model = cnn((1, 8, 8), [2], 4, dropout=0.4)
    assert names(model)[-3:] == ["flatten", "drop", "dense"]
    assert model.drop.p == 0.4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": (2,), "depth": 3}, "cnn: its convolutions are said by channels or by depth and width, not by "
         "both"),
        ({"channels": (2,), "width": 3}, "cnn: its convolutions are said by channels or by depth and width, not by "
         "both"),
        ({"depth": 1}, "cnn: depth counts the convolutions and the dense layer, so it is at least 2, got 1"),
        ({"depth": 0}, "cnn: depth must be a positive integer, got 0"),
        ({"width": 0}, "cnn: width must be a positive integer, got 0"),
        ({"depth": 4, "stride_at": (1, 4)}, "cnn: stride_at counts convolutions from 1 to 3, got 4"),
        ({"depth": 4, "pool_after": (0,)}, "cnn: pool_after counts convolutions from 1 to 3, got 0"),
        ({"head": "max"}, "cnn: head is flatten or average, got 'max'"),
        ({"padding": "same"}, "cnn: padding is zeros or circular, got 'same'"),
        ({"dropout": 1.0}, "cnn: dropout must be at least 0 and below 1, got 1.0"),
    ],
)  # fmt: skip
def test_options_that_cannot_be(options, message):
    with pytest.raises(ArgumentError) as caught:
        cnn(**options)
    assert str(caught.value) == message
