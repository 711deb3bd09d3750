"""Descriptions that nobody would write: refused at once in one sentence, or kept as they are."""

from __future__ import annotations

import json
from itertools import pairwise
from time import perf_counter
from typing import Any

import pytest
import torch

from fanin import models
from fanin.errors import ArgumentError, FaninError
from fanin.models.architecture import Architecture, Input, Layer, describe
from fanin.models.architecture.inference import MOST_TENSORS

A_WHILE = 5.0
"""Seconds: far more than a refusal takes, far less than what is refused would."""


def net(*layers: dict[str, Any], size: int = 4) -> Architecture:
    return Architecture.from_dict({"inputs": {"x": [size]}, "layers": list(layers)})


def tied(**others: str) -> Architecture:
    """Three dense layers of one shape; the weight of each name is tied to that of the other."""
    return net(
        *(
            {"name": name, "type": "linear", "out": 4, "bias": False}
            | ({"tie": {"weight": f"{others[name]}.weight"}} if name in others else {})
            for name in "abc"
        )
    )


@pytest.mark.parametrize(
    ("ties", "advice"),
    [
        (
            {"a": "b", "b": "a"},
            "'a.weight' is tied to 'b.weight', which is tied to 'a.weight' itself: leave out one of",
        ),
        ({"a": "b", "b": "c"}, "'b.weight', which is tied to 'c.weight' itself: tie it to 'c.weight' directly"),
        ({"c": "b", "b": "a"}, "'b.weight', which is tied to 'a.weight' itself: tie it to 'a.weight' directly"),
        ({"a": "b", "b": "c", "c": "a"}, "'b.weight', which is tied to 'c.weight' itself: tie it to"),
    ],
)
def test_a_tie_leads_to_a_parameter_without_a_tie(ties: dict[str, str], advice: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        _ = tied(**ties).parameters
    assert advice in str(caught.value)
    assert "(linear): " in str(caught.value)


def test_several_ties_to_one_parameter_are_one_tensor() -> None:
    made = tied(a="c", b="c")
    built = made.build()
    assert made.parameters == sum(each.numel() for each in built.parameters()) == 16
    assert built.get_parameter("a.weight") is built.get_parameter("b.weight") is built.get_parameter("c.weight")


def doubled(times: int) -> list[dict[str, Any]]:
    """What is together with itself, so often: 2^times tensors."""
    names = ["x", *(f"t{number}" for number in range(times))]
    return [{"name": name, "type": "together", "inputs": [before, before]} for before, name in pairwise(names)]


def test_values_together_with_themselves_are_refused_at_once() -> None:
    start = perf_counter()
    with pytest.raises(ArgumentError, match=rf"layer 't8' \(together\) makes more than {MOST_TENSORS} tensors: give"):
        net(*doubled(40)).shapes()
    assert perf_counter() - start < A_WHILE


def test_a_layer_makes_as_many_tensors_as_are_allowed() -> None:
    assert len(net(*doubled(8)).shapes()["t7"]) == 2
    nested = [{"name": "t0", "type": "together", "inputs": ["x", "x"]}]
    nested += [
        {"name": f"t{at}", "type": "together", "inputs": [f"t{at - 1}", "x"]} for at in range(1, MOST_TENSORS - 1)
    ]
    assert net(*nested).shapes()["t0"] == ((1, 4), (1, 4))
    with pytest.raises(ArgumentError, match=r"layer 'sum' \(add\) cannot take \(\(\("):
        net(*nested, {"name": "sum", "type": "add", "inputs": [nested[-1]["name"], "x"]}).shapes()


@pytest.mark.parametrize(("chunks", "words"), [(10**9, "chunks must be from 1 to"), (5000, "makes more than")])
def test_parts_without_end_are_refused_before_they_are_made(chunks: int, words: str) -> None:
    start = perf_counter()
    with pytest.raises(ArgumentError, match=rf"layer 'parts' \(chunk\):? {words}"):
        net({"name": "parts", "type": "chunk", "chunks": chunks}, size=10**9).shapes()
    assert perf_counter() - start < A_WHILE


@pytest.mark.parametrize("depth", [100, 500, 900, 2000])
@pytest.mark.parametrize(
    "text",
    [
        '{"inputs": {"x": [4]}, "layers": [{"name": "b", "type": "buffer", "values": DEEP}]}',
        '{"inputs": {"x": DEEP}, "layers": []}',
        '{"inputs": {"x": [4]}, "layers": DEEP}',
        '{"name": DEEP, "inputs": {"x": [4]}, "layers": []}',
    ],
)
def test_lists_in_lists_without_end_are_refused(text: str, depth: int) -> None:
    with pytest.raises(ArgumentError, match="not a description: its lists and tables are nested too deeply"):
        Architecture.from_json(text.replace("DEEP", "[" * depth + "1" + "]" * depth))


def test_options_from_python_are_no_deeper() -> None:
    deep: Any = 1
    for _ in range(900):
        deep = (deep,)
    with pytest.raises(ArgumentError, match="nested too deeply"):
        Architecture("deep", {"x": Input((4,))}, (Layer("b", "buffer", {"values": deep}),))


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (
            {"type": "gelu", "approximate": "t\ud800"},
            "layer 'act' (gelu): approximate must be a text that UTF-8 can hold, got 't\\ud800'",
        ),
        ({"type": "relu", "tie": {"weight": "\udfff"}}, "layer 'act' (relu): tie must name a parameter"),
        ({"type": "relu", "tie": {"\udfff": "fc.weight"}}, "layer 'act' (relu): tie must name a parameter"),
        ({"type": "relu", "\ud800": {}}, "layer 'act' (relu): \\ud800 must be a number, a text or"),
    ],
)
def test_half_characters_are_refused_in_words_that_can_be_printed(layer: dict[str, Any], words: str) -> None:
    text = json.dumps({"inputs": {"x": [4]}, "layers": [{"name": "act"} | layer]})
    with pytest.raises(FaninError) as caught:
        Architecture.from_json(text)
    assert words in str(caught.value)
    assert str(caught.value).encode()


@pytest.mark.parametrize("kind", ["lstm", "patch"])
@pytest.mark.parametrize("levels", ["none", "last"])
def test_a_word_stays_a_word(kind: str, levels: str) -> None:
    model = models.build(f"forecaster:lookback=24,horizon=6,width=8,kind={kind},levels={levels}").eval()
    series = torch.arange(48.0).reshape(2, 24, 1)
    made = describe(model, series)
    assert next(layer for layer in made.layers if layer.type == "levels").options == {"kind": levels}
    for again in (Architecture.from_toml(made.to_toml()), Architecture.from_json(made.to_json())):
        assert again == made
        built = again.build().eval()
        built.load_state_dict(model.state_dict())
        assert torch.equal(built(series), model(series))
