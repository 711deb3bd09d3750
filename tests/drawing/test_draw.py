"""What a drawing shows: layers, shapes, roles, parameters, lines, residual connections, repeats."""

from __future__ import annotations

import importlib.util
import re
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from torch import nn

import fanin
from fanin import models
from fanin.errors import ArgumentError, MissingExtraError, TraceError

HERE = importlib.util.spec_from_file_location("drawing_conftest", Path(__file__).with_name("conftest.py"))
assert HERE is not None
assert HERE.loader is not None
WORDS = importlib.util.module_from_spec(HERE)
HERE.loader.exec_module(WORDS)
boxes, lines, skips = WORDS.boxes, WORDS.lines, WORDS.skips

Source = Callable[..., str]
needs_dot = pytest.mark.skipif(shutil.which("dot") is None, reason="needs the program dot of Graphviz")


def test_a_chain_shows_types_shapes_roles_and_shares(source: Source) -> None:
    text = source(models.build("mnist-cnn"), torch.zeros(2, 784))
    words = list(boxes(text).values())
    assert words == [
        "input | n×784",
        "images | AsImages  n×1×28×28",
        "conv1 | Conv2d  n×8×28×28 | convolution | 80 · 0.88 %",
        "act1 | ReLU  n×8×28×28",
        "pool1 | MaxPool2d  n×8×14×14",
        "conv2 | Conv2d  n×16×14×14 | convolution | 1,168 · 13 %",
        "act2 | ReLU  n×16×14×14",
        "pool2 | MaxPool2d  n×16×7×7",
        "flatten | Flatten  n×784",
        "dense | Linear  n×10 | head | 7,850 · 86 %",
        "output | n×10",
    ]
    order = [word.split(" | ")[0] for word in words]
    assert lines(text) == set(pairwise(order))
    assert "Sequential: 9,098 parameters" in text


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.second(torch.relu(self.first(x)))


class Stack(nn.Module):
    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.stem = nn.Linear(3, 4)
        self.blocks = nn.ModuleList(Block() for _ in range(blocks))
        self.head = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def test_repeated_blocks_are_drawn_once_with_their_skips(source: Source) -> None:
    text = source(Stack(5), torch.zeros(2, 3))
    assert "blocks.0 … 4  × 5  Block" in text
    assert "first | Linear  n×4 | mlp up | 5 × 20 · 44 %" in boxes(text).values()
    assert lines(text) == {
        ("input", "stem"),
        ("stem", "first"),
        ("first", "relu"),
        ("relu", "second"),
        ("second", "+"),
        ("stem", "+"),
        ("+", "head"),
        ("head", "output"),
    }
    assert skips(text) == {("stem", "+")}


def test_every_block_is_drawn_where_asked(source: Source) -> None:
    text = source(Stack(5), torch.zeros(2, 3), collapse=False)
    assert text.count("first</B>") == 5
    assert "× 5" not in text
    assert len(re.findall("#c2410c", text)) == 5
    assert ("+", "first") in lines(text)


def test_blocks_of_another_structure_are_told_apart(source: Source) -> None:
    model = Stack(4)
    model.blocks[2].second = nn.Linear(4, 4, bias=False)
    text = source(model, torch.zeros(2, 3))
    assert "0 … 1  × 2  Block" in text
    assert text.count("first</B>") == 3


def test_alike_layers_beside_each_other_are_not_a_repeat(source: Source) -> None:
    text = source(models.build("transformer:depth=1,width=16,heads=2"))
    assert {"query", "key", "value"} <= {words.split(" | ")[0] for words in boxes(text).values()}
    assert {("query", "attention"), ("key", "attention"), ("value", "attention")} <= lines(text)


def test_a_long_chain_of_pairs_is_a_repeat(source: Source) -> None:
    text = source(models.build("mlp:depth=30,width=16"))
    assert re.search(r"act1, fc2 … act\d+, fc\d+  × 2\d", text)
    assert len(boxes(text)) <= 8


def test_depth_joins_what_is_deeper(source: Source) -> None:
    text = source(Stack(3), torch.zeros(2, 3), depth=2)
    assert "blocks.0 | Block  n×4 | mlp up, down | 3 × 40 · 82 %" in boxes(text).values()
    with pytest.raises(ArgumentError, match="depth must be at least 1, got 0"):
        source(Stack(3), torch.zeros(2, 3), depth=0)


def test_gpt2_has_its_roles_ties_and_branches(source: Source) -> None:
    pytest.importorskip("transformers")
    captured = fanin.capture(models.factory("hf:gpt2"))
    text = source(captured, models.example_inputs("hf:gpt2", 2))
    words = boxes(text).values()
    assert "c_attn | Conv1D  n×16×2304 | attention query, key, value | 12 × 1,771,776 · 17 %" in words
    assert "lm_head | Linear  n×16×50257 | head | tied to transformer.wte.weight" in words
    assert "wpe | Embedding  1×16×768 | position | 786,432 · 0.63 %" in words
    assert "GPT2LMHeadModel: 124,439,808 parameters" in text
    assert skips(text) == {("+", "+")}
    assert ("input", "wte") in lines(text)
    assert ("input", "wpe") not in lines(text)


def test_a_table_that_nobody_calls_counts_where_it_is_used(source: Source) -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.shared = nn.Embedding(5, 4)
            self.table, self.head = nn.Embedding(5, 4), nn.Linear(4, 5, bias=False)
            self.table.weight = self.head.weight = self.shared.weight

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            return self.head(self.table(tokens))

    words = boxes(source(Shared(), torch.zeros(2, 3, dtype=torch.long))).values()
    assert "table | Embedding  n×3×4 | embedding | 20 · 100 %" in words
    assert "head | Linear  n×3×5 | head | tied to table.weight" in words


def test_a_projected_shortcut_is_a_skip_too(source: Source) -> None:
    text = source(models.build("resnet:depth=8,width=4,shortcut=projection"))
    assert any("downsample" in words or "0 | Conv2d" in words for words in boxes(text).values())
    assert len(skips(text)) >= 3


def test_a_recurrent_network_is_drawn(source: Source) -> None:
    text = source(models.build("lstm:inputs=6,width=8"))
    assert "lstm | LSTM  n×16×8 | recurrent input, hidden | 512 · 85 %" in boxes(text).values()


def test_the_same_model_gives_the_same_bytes(source: Source) -> None:
    assert source(Stack(3), torch.zeros(2, 3)) == source(Stack(3), torch.zeros(2, 3))


def test_the_model_stays_as_it_is(source: Source) -> None:
    model = Stack(2).train()
    hooks = {name: len(module._forward_hooks) for name, module in model.named_modules()}
    state = torch.get_rng_state()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    source(model)
    assert model.training
    assert torch.equal(state, torch.get_rng_state())
    assert {name: len(module._forward_hooks) for name, module in model.named_modules()} == hooks
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@needs_dot
def test_svg_tells_readers_what_it_shows(tmp_path: Path) -> None:
    path = fanin.draw(Stack(3), torch.zeros(2, 3), tmp_path / "net.svg")
    root = ElementTree.fromstring(path.read_text())
    space = "{http://www.w3.org/2000/svg}"
    assert root.attrib["role"] == "img"
    assert root.attrib["aria-labelledby"] == "title description"
    assert root.findtext(f"{space}title") == "Stack"
    described = root.findtext(f"{space}desc") or ""
    assert described.startswith("Stack, 146 parameters in 8 layers; from the input down to the output. 1 residual")
    titles = [title.text for title in root.iter(f"{space}title")]
    assert "blocks.0.first: Linear; n×4; mlp up; 3 × 20 · 41 %" in titles
    assert not [title for title in titles if title and title.startswith("u")]
    again = fanin.draw(Stack(3), torch.zeros(2, 3), tmp_path / "again.svg")
    assert again.read_bytes() == path.read_bytes()


@needs_dot
@pytest.mark.parametrize(("suffix", "start"), [(".png", b"\x89PNG"), (".pdf", b"%PDF")])
def test_other_formats_by_suffix(tmp_path: Path, suffix: str, start: bytes) -> None:
    assert fanin.draw(Stack(2), torch.zeros(2, 3), tmp_path / f"net{suffix}").read_bytes().startswith(start)


HOSTILE = ['<b>&"', "a\\N\\l", "]]>", "x\x00\x1b[31m", "–" * 300, "u0", "{|}", "%s"]


@needs_dot
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_text(tmp_path: Path, name: str) -> None:
    model = nn.Sequential()
    model.add_module(name, nn.Sequential(nn.Linear(3, 3), nn.ReLU()))
    model.add_module("last", nn.Linear(3, 2))
    text = fanin.draw(model, torch.zeros(2, 3), tmp_path / "net.svg").read_text()
    root = ElementTree.fromstring(text)
    assert not [each for each in root.iter() if each.tag.rpartition("}")[2] not in KNOWN]


KNOWN = {"svg", "title", "desc", "g", "polygon", "path", "text", "ellipse", "polyline"}


def test_what_cannot_be_drawn_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs = Stack(2), torch.zeros(2, 3)
    with pytest.raises(ArgumentError, match=r"drawings are written as \.svg, \.png, \.pdf, \.dot, \.gv, not as \.jpg"):
        fanin.draw(model, inputs, tmp_path / "net.jpg")
    with pytest.raises(TraceError, match="the forward pass failed in layer 'stem'"):
        fanin.draw(model, torch.zeros(2, 5), tmp_path / "net.dot")
    with pytest.raises(ArgumentError, match=r"Sequential has 2,\d{3} boxes, which nobody could read: give a sm"):
        fanin.draw(
            nn.Sequential(*(nn.Tanh() for _ in range(2100))),
            torch.zeros(1, 2),
            tmp_path / "n.dot",
            collapse=False,
        )
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        MissingExtraError, match=r"pip install 'fanin\[draw\]'.*apt install graphviz.*the program is not"
    ):
        fanin.draw(model, inputs, tmp_path / "net.svg")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "graphviz", None)
    with pytest.raises(
        MissingExtraError, match=r"\(pip install 'fanin\[draw\]'\).*apt install graphviz.*the package is not"
    ):
        fanin.draw(Stack(2), torch.zeros(2, 3), tmp_path / "net.dot")
