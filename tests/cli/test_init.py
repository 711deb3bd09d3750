"""`fanin init`: the same bits as the library, whole files, metadata."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import fanin as library
from fanin.models import build, factory


@pytest.mark.parametrize("suffix", ["gguf", "safetensors"])
def test_the_file_holds_what_the_library_draws(fanin, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"weights.{suffix}"
    assert fanin("init", "mnist-cnn", "--recipe", "orthogonal", "--seed", 11, "-o", path).code == 0
    plan = library.plan(factory("mnist-cnn"), "orthogonal")
    expected = library.materialize(build("mnist-cnn"), plan, seed=11).state_dict()
    read = library.open_weights(path)
    assert read.keys() == expected.keys()
    assert all(read[name].equal(expected[name]) for name in expected)


@pytest.mark.parametrize(
    ("dtype", "stored"), [("f16", torch.float16), ("bf16", torch.bfloat16), ("f32", torch.float32)]
)
def test_dtype_rounds_each_value_once(fanin, tmp_path: Path, dtype: str, stored: torch.dtype) -> None:
    path = tmp_path / "weights.safetensors"
    assert fanin("init", "mnist-fc", "-r", "he", "--dtype", dtype, "-o", path).code == 0
    weight = library.open_weights(path)["fc1.weight"]
    drawn = library.materialize(build("mnist-fc"), library.plan(factory("mnist-fc"), "he")).state_dict()["fc1.weight"]
    assert weight.dtype == stored
    assert weight.equal(drawn.to(stored))


def test_what_was_written_is_shown(fanin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = fanin("init", "mnist-fc", "--recipe", "he", "--seed", 5, "-o", "fc.gguf")
    assert done.out.startswith("fc.gguf\n")
    assert "4 tensors, 397,510 values" in done.out
    for line in ("seed: 5\n", "recipe: he\n", "stream_version: 2\n", "plan_hash: "):
        assert f"\n{line}" in done.out


def test_json_is_what_the_file_says(fanin, tmp_path: Path) -> None:
    path = tmp_path / "fc.gguf"
    data = fanin("init", "mnist-fc", "--recipe", "he", "--seed", 5, "-o", path, "--json").json
    assert (data["path"], data["format"], data["bytes"]) == (str(path), "gguf", path.stat().st_size)
    assert data["metadata"]["general.architecture"] == "mnist-fc"
    assert data["metadata"]["fanin.seed"] == 5
    assert data["tensors"]["fc1.weight"] == {"shape": [500, 784], "dtype": "float32"}


def test_a_plan_from_a_file_is_followed(fanin, tmp_path: Path) -> None:
    plan = library.plan(factory("mnist-fc")).override({"fc1.bias": library.initializers.Constant(0.25)})
    (tmp_path / "plan.json").write_text(plan.to_json(), encoding="utf-8")
    path = tmp_path / "fc.safetensors"
    assert fanin("init", "mnist-fc", "--plan", tmp_path / "plan.json", "-o", path).code == 0
    assert library.open_weights(path)["fc1.bias"].unique().tolist() == [0.25]
    assert library.open_weights(path).metadata["fanin.plan_hash"] == plan.hash


def test_the_user_s_random_state_stays(fanin, tmp_path: Path) -> None:
    before = torch.get_rng_state()
    fanin("init", "mnist-fc", "-o", tmp_path / "fc.gguf")
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("name", ["a.bin", "nowhere/a.gguf", "there.gguf"])
def test_what_could_not_be_written_is_refused_before_drawing(
    fanin, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "there.gguf").write_bytes(b"kept")
    (tmp_path / "mine.py").write_text("def model():\n    raise SystemExit('the model was built')\n")
    monkeypatch.chdir(tmp_path)
    assert fanin("init", "mine.py:model", "-o", name).code == 2
    assert (tmp_path / "there.gguf").read_bytes() == b"kept"
