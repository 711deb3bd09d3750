"""Options of builders: read from signatures and docstrings, given as text."""

from collections.abc import Callable, Sequence
from typing import Literal

import pytest

from fanin import ArgumentError, UnknownNameError
from fanin.models.activations import Activation
from fanin.models.norms import Norm
from fanin.models.options import Option, options_of, read_options


def box(
    side: int = 3,
    *,
    shape: tuple[int, ...] = (1, 2),
    widths: Sequence[int] | None = None,
    scale: float = 1.0,
    bias: bool | None = None,
    activation: Activation = "relu",
    norm: Norm = None,
    head: Literal["flat", "mean"] = "flat",
) -> None:
    """A box.

    Args:
        side: its length,
            which is no breadth.
        shape, and more: no entry of an option.
        bias: whether it has one.

    Returns:
        head: nothing.
    """


OPTIONS = {option.name: option for option in options_of(box)}


def test_names_defaults_and_meanings():
    assert list(OPTIONS) == ["side", "shape", "widths", "scale", "bias", "activation", "norm", "head"]
    assert (OPTIONS["side"].default, OPTIONS["side"].meaning) == (3, "its length, which is no breadth")
    assert OPTIONS["bias"].meaning == "whether it has one"
    assert OPTIONS["head"].meaning == ""


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("side", "20", 20),
        ("side", "-2", -2),
        ("shape", "1x28x28", (1, 28, 28)),
        ("shape", "784-500", (784, 500)),
        ("shape", "7", (7,)),
        ("shape", "none", ()),
        ("widths", "none", None),
        ("widths", "5-3", (5, 3)),
        ("scale", "1e-3", 0.001),
        ("scale", "2", 2.0),
        ("bias", "true", True),
        ("bias", "False", False),
        ("bias", "none", None),
        ("activation", "gelu", "gelu"),
        ("activation", "none", "none"),
        ("norm", "none", None),
        ("norm", "batch", "batch"),
        ("head", "mean", "mean"),
    ],
)
def test_values(name, text, value):
    read = OPTIONS[name].read("box", text)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("side", "3.0", "a whole number"),
        ("side", "true", "a whole number"),
        ("side", "none", "a whole number"),
        ("side", "٣", "a whole number"),
        ("shape", "1x", "whole numbers joined by - or x"),
        ("shape", "a-b", "whole numbers joined by - or x"),
        ("widths", "", "none or whole numbers joined by - or x"),
        ("scale", "much", "a number"),
        ("bias", "1", "none or true or false"),
        ("activation", "", "a name"),
        ("head", "max", "flat or mean"),
    ],
)
def test_values_that_cannot_be(name, text, words):
    with pytest.raises(ArgumentError) as caught:
        OPTIONS[name].read("box", text)
    assert str(caught.value) == f"option {name} of box must be {words}, got {text!r}"


def test_kinds_in_a_word():
    assert {name: option.kind for name, option in OPTIONS.items()} == {
        "side": "integer",
        "shape": "integers",
        "widths": "integers",
        "scale": "number",
        "bias": "true|false",
        "activation": "name",
        "norm": "name",
        "head": "flat|mean",
    }


def test_read_options():
    assert read_options("box", tuple(OPTIONS.values()), {"side": "4", "norm": "none"}) == {"side": 4, "norm": None}
    with pytest.raises(
        UnknownNameError, match=r"unknown option of box 'sid'; did you mean 'side'\? Known: activation, "
    ):
        read_options("box", tuple(OPTIONS.values()), {"sid": "4"})


def test_no_docstring_no_meaning():
    def bare(side: int = 1, *, norm: Callable[[int], int] | None = None) -> None: ...

    assert options_of(bare)[0] == Option("side", int, 1, "")
