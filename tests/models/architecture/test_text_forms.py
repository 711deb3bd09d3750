"""TOML and JSON: descriptions come back as they were, and damaged ones are refused with one sentence."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fanin import models
from fanin.errors import ArgumentError, FaninError, UnknownNameError
from fanin.models.architecture import Architecture, Input, Layer, read

BY_HAND = """
name = "by hand"
loss = "cross_entropy"
inputs = { x = [1, 8, 8] }

layers = [
  { name = "conv", type = "conv2d", out = 4, kernel_size = 3, padding = 1 },
  { name = "act", type = "relu" },
  { name = "branch.conv", type = "conv2d", out = 4, kernel_size = 3, padding = 1 },
  { name = "sum", type = "add", inputs = ["act", "branch.conv"] },
  { name = "clip", type = "hardtanh", max_val = "inf" },
  { name = "flatten", type = "flatten" },
  { name = "fc", type = "linear", out = 10 },
]
"""


def test_a_description_by_hand_is_a_model() -> None:
    made = Architecture.from_toml(BY_HAND)
    assert made.shapes() == {
        "conv": (1, 4, 8, 8),
        "act": (1, 4, 8, 8),
        "branch.conv": (1, 4, 8, 8),
        "sum": (1, 4, 8, 8),
        "clip": (1, 4, 8, 8),
        "flatten": (1, 256),
        "fc": (1, 10),
    }
    assert made.shapes(7)["fc"] == (7, 10)
    assert made.parameters == (9 + 1) * 4 + (36 + 1) * 4 + 257 * 10
    model = made.build()
    assert model.get_submodule("clip").max_val == float("inf")
    assert model(x=torch.zeros(2, 1, 8, 8)).shape == (2, 10)
    loss = made.loss_function()
    assert loss is not None
    assert loss(torch.zeros(2, 10), torch.tensor([1, 2])).item() == pytest.approx(2.302585, rel=1e-6)


def test_the_written_form_is_short() -> None:
    made = Architecture.from_toml(BY_HAND)
    assert made.to_toml().strip() == BY_HAND.strip()
    assert str(made) == made.to_toml()
    assert Architecture.from_json(made.to_json()) == made
    assert hash(Architecture.from_json(made.to_json())) == hash(made)


def test_the_same_layers_in_another_order_are_the_same_network() -> None:
    layers = Architecture.from_toml(BY_HAND).layers
    turned = Architecture("by hand", {"x": Input((1, 8, 8))}, layers[::-1], ("fc",))
    assert turned.shapes()["fc"] == (1, 10)
    assert [name for name, _ in turned.build().named_parameters()][:2] == ["fc.weight", "fc.bias"]


def test_files_are_models_by_their_path(tmp_path: Path) -> None:
    toml, as_json = tmp_path / "net.toml", tmp_path / "net.arch.json"
    toml.write_text(BY_HAND)
    as_json.write_text(Architecture.from_toml(BY_HAND).to_json())
    assert read(toml) == read(as_json)
    for path in (toml, as_json):
        model = models.build(str(path))
        inputs = models.example_inputs(str(path), 3)
        assert isinstance(inputs, torch.Tensor)
        assert model(inputs).shape == (3, 10)


def test_tokens_are_drawn_below_the_size_of_their_table() -> None:
    layers = (Layer("table", "embedding", {"num_embeddings": 7, "embedding_dim": 3}),)
    built = Architecture("tokens", {"t": Input((5,), "int64")}, layers).build()
    assert built.sample.tokens == 7
    assert built(models.example_inputs(built, 4)).shape == (4, 5, 3)


def parts(data: Any) -> list[str]:
    """Every layer of data in its own words, to compare sets of what was written."""
    return [json.dumps(layer, sort_keys=True) for layer in data["layers"]]


def test_toml_and_json_hold_the_same_data() -> None:
    made = Architecture.from_toml(BY_HAND)
    assert tomllib.loads(made.to_toml()) == json.loads(made.to_json()) == made.to_dict()


WIDTHS = st.integers(1, 6)
NAMES = st.text("abcdefgh", min_size=1, max_size=4)


@st.composite
def graphs(draw: st.DrawFn) -> Architecture:
    """A random acyclic network over vectors, its layers in any order."""
    width = draw(WIDTHS)
    layers: list[Layer] = []
    values = [("x", width)]
    for number in range(draw(st.integers(1, 12))):
        source, size = draw(st.sampled_from(values))
        name = f"{draw(NAMES)}{number}" if draw(st.booleans()) else f"{draw(NAMES)}_.b{number}"
        kind = draw(st.sampled_from(["linear", "activation", "add", "concatenate", "norm", "parameter", "scale"]))
        if kind == "linear":
            out = draw(WIDTHS)
            options = {"out": out} | ({"bias": False} if draw(st.booleans()) else {})
            options |= {"in": size} if draw(st.booleans()) else {}
            layers.append(Layer(name, "linear", options, (source,)))
            size = out
        elif kind == "activation":
            layers.append(Layer(name, draw(st.sampled_from(["relu", "tanh", "gelu", "sin"])), {}, (source,)))
        elif kind == "add":
            same = [each for each, wide in values if wide == size]
            layers.append(Layer(name, "add", {}, (source, *draw(st.lists(st.sampled_from(same), min_size=1)))))
        elif kind == "concatenate":
            others = draw(st.lists(st.sampled_from(values), min_size=1, max_size=3))
            layers.append(Layer(name, "concatenate", {}, (source, *(each for each, _ in others))))
            size += sum(wide for _, wide in others)
        elif kind == "norm":
            eps = draw(st.floats(1e-8, 1e-2))
            layers.append(Layer(name, "layer_norm", {"eps": eps}, (source,)))
        elif kind == "parameter":
            layers.append(Layer(f"{name}_p", "parameter", {"shape": (size,)}))
            layers.append(Layer(name, "multiply", {}, (source, f"{name}_p")))
        else:
            by = draw(st.floats(-4, 4) | st.integers(-4, 4) | st.just(float("inf")))
            layers.append(Layer(name, "scale", {"by": by}, (source,)))
        values.append((name, size))
    read_names = {name for layer in layers for name in layer.inputs or ()}
    unread = tuple(layer.name for layer in layers if layer.name not in read_names)
    if "x" not in read_names:  # pragma: no cover - the first layer always reads x
        unread = ()
    order = draw(st.permutations(layers)) if draw(st.booleans()) else layers
    return Architecture("random", {"x": Input((width,))}, tuple(order), unread)


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_random_networks_come_back_exactly(made: Architecture) -> None:
    back = Architecture.from_toml(made.to_toml())
    assert back == made == Architecture.from_json(made.to_json())
    assert back.to_toml() == made.to_toml()
    assert list(back.inputs) == list(made.inputs)
    for layer, same in zip(made.layers, back.layers, strict=True):
        assert {key: type(value) for key, value in layer.options.items()} == {
            key: type(value) for key, value in same.options.items()
        }
    assert back.shapes(3) == made.shapes(3)


@settings(max_examples=25, deadline=None)
@given(graphs())
def test_random_networks_compute_the_same_after_a_round_trip(made: Architecture) -> None:
    first, second = made.build().eval(), Architecture.from_json(made.to_json()).build().eval()
    second.load_state_dict(first.state_dict())
    inputs = torch.rand((2, *made.inputs["x"].shape), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        one, other = first(inputs), second(inputs)
    pairs = zip(one, other, strict=True) if isinstance(one, tuple) else [(one, other)]
    for mine, its in pairs:
        torch.testing.assert_close(mine, its, rtol=0, atol=0, equal_nan=True)


JUNK = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=6)
ANYTHING = st.recursive(
    JUNK,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_descriptions_raise_only_errors_of_fanin(data: st.DataObject) -> None:
    damaged = json.loads(data.draw(graphs()).to_json())
    for _ in range(data.draw(st.integers(1, 3))):
        place: Any = damaged
        while isinstance(place, (dict, list)) and place:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            key = data.draw(st.sampled_from(keys))
            if not isinstance(place[key], (dict, list)) or data.draw(st.booleans()):
                action = data.draw(st.sampled_from(["replace", "drop", "add"]))
                if action == "replace":
                    place[key] = data.draw(ANYTHING)
                elif action == "drop":
                    del place[key]
                elif isinstance(place, dict):
                    place[data.draw(st.text(max_size=5))] = data.draw(ANYTHING)
                break
            place = place[key]
    made, refused = accepted(damaged)
    if made is None:
        assert refused
        assert "\n" not in refused
    else:
        assert Architecture.from_toml(made.to_toml()) == made


def accepted(data: Any) -> tuple[Architecture | None, str]:
    """The architecture, its shapes checked and built without memory; or why not."""
    try:
        made = Architecture.from_dict(data)
        made.shapes()
        with torch.device("meta"):
            made.build()
    except FaninError as error:
        return None, str(error)
    return made, ""


@settings(max_examples=80, deadline=None)
@given(st.text(max_size=60) | st.binary(max_size=60))
def test_any_text_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str | bytes) -> None:
    for parse in (Architecture.from_toml, Architecture.from_json):
        if isinstance(text, str):
            with pytest.raises(FaninError):
                parse(text)


def test_what_is_no_toml_or_json_says_where(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"^not TOML: .*\(at line 2, column 5\)$"):
        Architecture.from_toml('name = "a"\nx = ]')
    with pytest.raises(ArgumentError, match=r"^not JSON: .* \(line 2, column 1\)$"):
        Architecture.from_json('{"name": "a",\n}')
    with pytest.raises(ArgumentError, match="the key 'name' is there twice"):
        Architecture.from_json('{"name": "a", "name": "b"}')
    for text, parse in (("[" * 100_000, Architecture.from_json), ("x = " + "[" * 100_000, Architecture.from_toml)):
        with pytest.raises(ArgumentError, match=r"nested too deeply|not TOML"):
            parse(text)
    path = tmp_path / "net.toml"
    with pytest.raises(UnknownNameError, match=r"there is no file '.*net\.toml'"):
        read(path)
    path.write_bytes(b"name = '\xff'")
    with pytest.raises(ArgumentError, match=r"net\.toml is not a text: byte 8 is not UTF-8"):
        read(path)
    path.write_bytes(b"#" * (2**24 + 1))
    with pytest.raises(ArgumentError, match="is larger than 16 MiB"):
        read(path)
    with pytest.raises(ArgumentError, match="cannot be read"):
        read(tmp_path)
    path.write_text("layers = 3\ninputs = { x = [1] }")
    with pytest.raises(ArgumentError, match=r"net\.toml: layers must be a list of tables, got 3"):
        read(path)
