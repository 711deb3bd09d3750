"""Models named as text."""

import pickle

import pytest
import torch
from torch import nn

from fanin import ArgumentError, UnknownNameError
from fanin.models import build, factory, names

FORMS = "Known: FAMILY:key=value, FILE.toml, "


def test_names_build_with_nothing_but_their_name():
    for name in names():
        with torch.device("meta"):
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
        ("mlp:6-2,act=relu", "unknown option of mlp 'act'. Known: activation, bias, classes, depth, dropout, norm, "),
        ("cnn:1x8x8-2-2,kernal=3", "unknown option of cnn 'kernal'; did you mean 'kernel'? Known: activation, bias, "),
        ("resnet18:dept=3", "unknown option of resnet 'dept'; did you mean 'depth'? Known: activation, bias, block, "),
    ],
)  # fmt: skip
def test_unknown_names(spec, message):
    with pytest.raises(UnknownNameError) as caught:
        build(spec)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("mlp:", "option widths of mlp must be none or whole numbers joined by - or x, got ''"),
        ("mlp:6-x", "option widths of mlp must be none or whole numbers joined by - or x, got '6-x'"),
        ("mlp:6", "mlp widths must be at least 2 positive integers, got (6,)"),
        ("mlp:6-0-2", "mlp widths must be at least 2 positive integers, got (6, 0, 2)"),
        ("mlp:6-2,bias", "model 'mlp:6-2,bias': options are written key=value, each once, got 'bias'"),
        ("mlp:6-2,bias=1,bias=2",
         "model 'mlp:6-2,bias=1,bias=2': options are written key=value, each once, got 'bias=2'"),
        ("cnn:8x8-2-2", "cnn shape must be at least 3 positive integers, got (8, 8)"),
        ("cnn:1x8x8x8-2-2",
         "cnn needs a shape (channels, height, width), got (1, 8, 8, 8)"),
        ("cnn:1x8x8-2-x", "option classes of cnn must be a whole number, got 'x'"),
        ("mlp:6-2,widths=6-3", "model 'mlp:6-2,widths=6-3' gives widths twice: as '6-2' and by its name"),
        ("mlp:6-2,bias=1", "option bias of mlp must be true or false, got '1'"),
        ("mlp:6-2,dropout=half", "option dropout of mlp must be a number, got 'half'"),
        ("cnn:head=max", "option head of cnn must be flatten or average, got 'max'"),
        ("resnet:depth=2.5", "option depth of resnet must be a whole number, got '2.5'"),
        ("resnet:activation=", "option activation of resnet must be a name, got ''"),
        ("resnet:20", "model 'resnet:20': resnet takes options written key=value, as resnet:depth=20,norm=none, got "
         "'20'"),
        ("resnet:build", "model 'resnet:build': resnet takes options written key=value, as "
         "resnet:depth=20,norm=none, got 'build'; a function of your own file is named resnet.py:build"),
    ],
)  # fmt: skip
def test_bad_specs(spec, message):
    with pytest.raises(ArgumentError) as caught:
        build(spec)
    assert str(caught.value) == message
