"""What a description cannot be, each in one sentence that names the place."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import fanin
from fanin.errors import ArgumentError, DataError, FaninError, UnknownNameError
from fanin.models.architecture import Architecture, Input, Layer


def net(*layers: dict[str, Any], inputs: Any = None, **others: Any) -> Architecture:
    return Architecture.from_dict(
        {"inputs": {"x": [8]} if inputs is None else inputs, "layers": list(layers), **others}
    )


FC = {"name": "fc", "type": "linear", "out": 4}
ACT = {"name": "act", "type": "relu"}
CONV = {"name": "conv", "type": "conv2d", "out": 4, "kernel_size": 3}

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "unknown type": (
        {"layers": [FC | {"type": "liner"}]},
        "unknown type of layer 'fc' 'liner'; did you mean 'linear'",
    ),
    "unknown option": (
        {"layers": [FC | {"outt": 4}]},
        "unknown option of layer 'fc' (linear) 'outt'; did you mean 'out'?",
    ),
    "missing option": ({"layers": [{"name": "fc", "type": "linear"}]}, "layer 'fc' (linear) needs the option 'out'"),
    "a word for a flag": (
        {"layers": [FC | {"bias": "yes"}]},
        "layer 'fc' (linear): bias must be true or false, got 'yes'",
    ),
    "a word for a number": (
        {"layers": [{"name": "drop", "type": "dropout", "p": "half"}]},
        "layer 'drop' (dropout): p must be a number, got 'half'",
    ),
    "a size that is given wrong": (
        {"layers": [FC | {"in": 5}]},
        "layer 'fc' (linear) expects 5 in dimension -1 of its input (in = 5), got [n, 8] from 'x'",
    ),
    "shapes that do not fit": (
        {"layers": [FC, {"name": "sum", "type": "add", "inputs": ["fc", "x"]}]},
        "layer 'sum' (add) cannot take [n, 4] from 'fc' and [n, 8] from 'x': ",
    ),
    "too few dimensions": (
        {"layers": [CONV]},
        "layer 'conv' (conv2d) needs an input of 3 or more dimensions, got [n, 8] from 'x'",
    ),
    "an image that is too small": (
        {"inputs": {"x": [1, 2, 2]}, "layers": [CONV]},
        "layer 'conv' (conv2d) cannot take [n, 1, 2, 2] from 'x': ",
    ),
    "options that a constructor refuses": (
        {"inputs": {"x": [3, 8, 8]}, "layers": [CONV | {"groups": 2}]},
        "layer 'conv' (conv2d) cannot be made of these options: in_channels must be divisible by groups",
    ),
    "a layer that is not there": (
        {"layers": [FC, ACT | {"inputs": ["fcc"]}]},
        "unknown input of layer 'act' (relu) 'fcc'; did you mean 'fc'? Known: act, fc, x.",
    ),
    "a name twice": ({"layers": [FC, FC]}, "the name 'fc' is there twice: every layer and input needs its own"),
    "a cycle": (
        {"layers": [FC | {"inputs": ["act"]}, ACT | {"inputs": ["fc"]}], "outputs": ["act"]},
        "form a cycle: a layer cannot read what is computed from it",
    ),
    "a layer that nothing reads": (
        {"layers": [FC, ACT | {"inputs": ["x"]}]},
        "nothing reads the layer 'fc': connect it, name it among outputs, or leave it out",
    ),
    "an input that nothing reads": (
        {"inputs": {"x": [8], "y": [8]}, "layers": [FC | {"inputs": ["x"]}]},
        "nothing reads the input 'y'",
    ),
    "no layers": ({"layers": []}, "a description needs at least one layer: its last one is the output"),
    "no inputs": ({"inputs": {}, "layers": [FC]}, "a description needs at least one input"),
    "an output that is not there": (
        {"layers": [FC], "outputs": ["fd"]},
        "unknown layer among the outputs 'fd'. Known: fc.",
    ),
    "an output twice": ({"layers": [FC], "outputs": ["fc", "fc"]}, "an output is named twice: fc, fc"),
    "an unknown loss": (
        {"layers": [FC], "loss": "crossentropy"},
        "unknown loss 'crossentropy'; did you mean 'cross_entropy'? Known: bce, bce_with_logits, cross_entropy, l1,",
    ),
    "a method's name": (
        {"layers": [FC | {"name": "net.forward"}]},
        "layer 'net.forward': torch's modules have an attribute 'forward' of their own",
    ),
    "an attribute's name": (
        {"layers": [FC | {"name": "_modules"}]},
        "layer '_modules': torch's modules have an attribute",
    ),
    "no word": ({"layers": [FC | {"name": "a b"}]}, "layer 'a b': names are words and numbers joined by dots"),
    "an empty part": ({"layers": [FC | {"name": "a..b"}]}, "layer 'a..b': names are words and numbers joined by dots"),
    "a layer in a layer": (
        {"layers": [FC, ACT | {"name": "fc.act"}]},
        "layer 'fc.act' cannot stand inside of the layer 'fc': rename one of them",
    ),
    "too few inputs": (
        {"layers": [FC, {"name": "sum", "type": "add"}]},
        "layer 'sum' (add) takes 2 or more inputs, got 1",
    ),
    "too many inputs": (
        {"layers": [FC | {"inputs": ["x", "x"]}]},
        "layer 'fc' (linear) takes 1 inputs, got 2",
    ),
    "which of two inputs": (
        {"inputs": {"x": [8], "y": [8]}, "layers": [FC]},
        "layer 'fc' (linear) is the first: say which of the inputs x, y it reads",
    ),
    "no shape": (
        {"inputs": {"x": [0]}, "layers": [FC]},
        "the shape of input 'x' must be positive whole numbers, got (0,)",
    ),
    "an unknown dtype": (
        {"inputs": {"x": {"shape": [8], "dtype": "float"}}, "layers": [FC]},
        "unknown dtype of input 'x' 'float'; did you mean 'float",
    ),
    "a tie to nothing": (
        {"layers": [FC | {"tie": {"weight": "fd.weight"}}]},
        "layer 'fc' (linear): there is no parameter 'fd.weight' to tie",
    ),
    "a tie of other shape": (
        {"layers": [FC, {"name": "fd", "type": "linear", "out": 5, "tie": {"weight": "fc.weight"}}]},
        "layer 'fd' (linear): 'fd.weight' of shape 5×4 is tied to 'fc.weight' of shape 4×8",
    ),
    "a part that is not there": (
        {"inputs": {"x": [5, 8]}, "layers": [{"name": "rnn", "type": "lstm", "hidden_size": 4, "take": "gate"}]},
        "unknown part to take of layer 'rnn' (lstm) 'gate'. Known: all, cell, hidden, output.",
    ),
    "a layer again that is not there": (
        {"layers": [FC, {"name": "more", "type": "again", "layer": "fd"}]},
        "unknown layer that layer 'more' (again) calls again 'fd'. Known: fc, more.",
    ),
    "an unknown key": ({"layers": [FC], "layer": []}, "unknown key of a description 'layer'; did you mean 'layers'"),
    "no name": ({"layers": [{"type": "relu"}]}, "layer number 1 needs a name"),
    "no type": ({"layers": [{"name": "act"}]}, "layer 'act' needs a type"),
    "no table": ({"layers": ["relu"]}, "layer number 1 must be a table with name and type, got 'relu'"),
    "rows of other lengths": (
        {
            "layers": [
                {"name": "b", "type": "buffer", "values": [[1], [1, 2]]},
                {"name": "s", "type": "add", "inputs": ["x", "b"]},
            ]
        },
        "layer 'b' (buffer): values must be numbers in rows of one length",
    ),
    "layers without end": (
        {"inputs": {"x": [5, 8]}, "layers": [{"name": "rnn", "type": "gru", "hidden_size": 4, "num_layers": 10**9}]},
        "layer 'rnn' (gru): num_layers must be from 1 to 10000, got 1000000000",
    ),
    "a size beyond any": ({"layers": [FC | {"out": 2**80}]}, "layer 'fc' (linear): out must be below 2^62, got 12089"),
    "a product beyond any": (
        {"layers": [FC | {"out": 10**15}, {"name": "fd", "type": "linear", "out": 10**15}]},
        "layer 'fd' (linear) cannot be made of these options",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_description_that_cannot_be_is_refused_in_one_sentence(name: str) -> None:
    data, words = REFUSED[name]
    with pytest.raises(FaninError) as caught:
        Architecture.from_dict({"inputs": {"x": [8]}, **data}).shapes()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, (ArgumentError, UnknownNameError))


def test_a_cycle_names_its_layers() -> None:
    layers = (Layer("a", "add", {}, ("x", "c")), Layer("b", "relu", {}, ("a",)), Layer("c", "tanh", {}, ("b",)))
    with pytest.raises(ArgumentError) as caught:
        Architecture("ring", {"x": Input((2,))}, layers)
    path = str(caught.value).removeprefix("the layers ").partition(" form")[0].split(" → ")
    assert set(path) == {"a", "b", "c"}
    assert path[0] == path[-1]


def test_what_no_memory_holds_is_counted_but_not_built() -> None:
    huge = net({"name": "fc", "type": "linear", "out": 10**15})
    assert huge.parameters == 9 * 10**15
    assert huge.shapes()["fc"] == (1, 10**15)
    with pytest.raises(
        ArgumentError, match=r"9,000,000,000,000,000 parameters take 33,527,613 GiB and this machine has"
    ):
        huge.build()
    with torch.device("meta"):
        assert huge.build().get_parameter("fc.weight").is_meta
    assert fanin.count(fanin.capture(huge.build), torch.zeros(1, 8)).parameters == 9 * 10**15
    assert fanin.plan(fanin.capture(huge.build), "auto", torch.zeros(1, 8))["fc.weight"].std == pytest.approx(8**-0.5)


def test_inputs_are_counted_in_the_forward_pass() -> None:
    built = net({"name": "sum", "type": "add", "inputs": ["x", "y"]}, inputs={"x": [3], "y": [3]}).build()
    one = torch.ones(2, 3)
    assert built(one, y=one).tolist() == [[2.0] * 3] * 2
    for given, named in (((one,), {}), ((one, one, one), {}), ((one,), {"x": one}), ((one, one), {"z": one})):
        with pytest.raises(DataError, match=r"the network takes the inputs x, y, got"):
            built(*given, **named)


def test_shapes_need_a_batch() -> None:
    with pytest.raises(ArgumentError, match="batch must be at least 1, got 0"):
        net(FC).shapes(0)
