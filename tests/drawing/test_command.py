"""`fanin draw`, and descriptions wherever a MODEL is taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from fanin.cli import run
from fanin.models.architecture import Architecture

pytest.importorskip("graphviz")

NET = """
inputs = { x = [1, 28, 28] }
layers = [
  { name = "conv", type = "conv2d", out = 8, kernel_size = 3 },
  { name = "act", type = "relu" },
  { name = "flatten", type = "flatten" },
  { name = "fc", type = "linear", out = 10 },
]
"""


def test_a_model_is_drawn_to_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "net.dot"
    assert run(["draw", "mnist-fc", "-o", str(path)]) == 0
    assert "fc2" in path.read_text()
    assert capsys.readouterr().out == ""
    assert run(["draw", "vit:depth=3,width=16,heads=2", "-o", str(path), "--depth", "1"]) == 0
    assert path.read_text().count("LayerNorm") == 1
    assert run(["draw", "mlp:depth=9,width=8", "-o", str(path), "--all"]) == 0
    assert path.read_text().count("ReLU") == 8


def test_bad_input_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["draw", "mnist-fc", "-o", str(tmp_path / "net.jpg")]) == 2
    assert capsys.readouterr().err.startswith("Error: drawings are written as .svg")
    assert list(tmp_path.iterdir()) == []


def test_a_description_is_a_model_of_every_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    toml, arch = tmp_path / "net.toml", tmp_path / "net.arch.json"
    toml.write_text(NET)
    arch.write_text(Architecture.from_toml(NET).to_json())
    for path in (toml, arch):
        assert run(["count", str(path)]) == 0
        assert "54,170" in capsys.readouterr().out
        assert run(["plan", str(path), "--recipe", "he"]) == 0
        assert "conv.weight" in capsys.readouterr().out
        assert run(["draw", str(path), "-o", str(tmp_path / "net.dot")]) == 0
    toml.write_text(NET.replace("out = 10", "out = 10, in = 5"))
    assert run(["count", str(toml)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "layer 'fc' (linear) expects 5 in dimension -1 of its input (in = 5), got [n, 5408] from 'flatten'" in error
