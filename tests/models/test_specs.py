"""Models named as text."""

import pickle

import pytest
import torch
from torch import nn

from fanin import ArgumentError, UnknownNameError
from fanin.models import build, factory, names

FORMS = (
    "Known: cnn:1x28x28-8-16-10, config.json, hf:TYPE, mlp:784-500-10, mnist-cnn, mnist-fc, "
    "package.module:factory, path.py:factory."
)


def test_names_build():
    assert names() == ("mnist-cnn", "mnist-fc")
    for name in names():
        assert isinstance(build(name), nn.Module)


def test_mlp_options():
    model = build("mlp:6-4-2,activation=gelu,bias=false,norm=batch")
    assert [type(module) for module in model] == [nn.Flatten, nn.Linear, nn.BatchNorm1d, nn.GELU, nn.Linear]
    assert model.fc1.bias is None


def test_cnn_options():
    model = build("cnn:3x12x12-4-5-7,activation=silu,kernel=5,pool=3,bias=false,norm=layer")
    assert model.conv1.weight.shape == (4, 3, 5, 5)
    assert model.pool1.kernel_size == 3
    assert type(model.act2) is nn.SiLU
    assert type(model.norm2) is nn.GroupNorm
    assert model.conv1.bias is None
    assert model(torch.zeros(2, 3, 12, 12)).shape == (2, 7)


def test_a_factory_builds_anew_and_can_be_sent_to_another_process():
    make = pickle.loads(pickle.dumps(factory("mlp:3-2")))
    assert make() is not make()


def test_a_factory_builds_nothing_yet():
    assert callable(factory("mlp:100000-100000-100000"))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("mnist", f"unknown model 'mnist'; did you mean 'mnist-fc' or 'mnist-cnn'? {FORMS}"),
        ("", f"unknown model ''. {FORMS}"),
        ("mlp:6-2,act=relu", "unknown option of mlp 'act'. Known: activation, bias, norm."),
        ("cnn:1x8x8-2-2,kernal=3", "unknown option of cnn 'kernal'; did you mean 'kernel'? Known: "
         "activation, bias, kernel, norm, pool."),
    ],
)  # fmt: skip
def test_unknown_names(spec, message):
    with pytest.raises(UnknownNameError) as caught:
        build(spec)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("mlp:", "model 'mlp:': '' is not whole numbers joined by '-', as mlp:784-500-10"),
        ("mlp:6-x", "model 'mlp:6-x': '6-x' is not whole numbers joined by '-', as mlp:784-500-10"),
        ("mlp:6", "mlp widths must be at least 2 positive integers, got (6,)"),
        ("mlp:6-0-2", "mlp widths must be at least 2 positive integers, got (6, 0, 2)"),
        ("mlp:6-2,bias", "model 'mlp:6-2,bias': options are written key=value, each once, got 'bias'"),
        ("mlp:6-2,bias=1,bias=2",
         "model 'mlp:6-2,bias=1,bias=2': options are written key=value, each once, got 'bias=2'"),
        ("cnn:8x8-2-2", "cnn shape must be at least 3 positive integers, got (8, 8)"),
        ("cnn:1x8x8x8-2-2",
         "cnn needs a shape (channels, height, width), got (1, 8, 8, 8)"),
        ("cnn:1x8x8", "model 'cnn:1x8x8': '' is not whole numbers joined by '-', as cnn:1x28x28-8-16-10"),
        ("cnn:1x8x8-2", "cnn channels must be at least 1 positive integers, got ()"),
    ],
)  # fmt: skip
def test_bad_specs(spec, message):
    with pytest.raises(ArgumentError) as caught:
        build(spec)
    assert str(caught.value) == message
