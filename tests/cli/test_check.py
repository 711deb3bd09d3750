"""`fanin check`: the table, the verdict, where the weights and the batch come from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import fanin as library
from fanin.cli.check import usual_batch
from fanin.models import build

DEEP = "mlp:784-" + "128-" * 9 + "10"


def test_a_sound_start_is_fine(fanin) -> None:
    done = fanin("check", "mnist-cnn", "--recipe", "he")
    assert done.code == 0
    assert "verdict: healthy" in done.out
    assert [name for name in ("conv1", "act1", "pool1", "conv2", "dense") if f"\n{name} " not in done.out] == []


def test_a_signal_that_dies_is_a_finding(fanin) -> None:
    done = fanin("check", DEEP, "--recipe", "ggml-mnist")
    assert done.code == 1
    assert "verdict: vanishing, starting at " in done.out
    assert "\nerror: " in done.out
    assert "\ntry: " in done.out


def test_json_says_what_the_library_says(fanin) -> None:
    done = fanin("check", DEEP, "--recipe", "ggml-mnist", "--json")
    assert done.code == 1
    assert done.json["verdict"] == "vanishing"
    assert done.json["findings"][0]["severity"] == "error"
    assert [layer["name"] for layer in done.json["layers"]][:2] == ["fc1", "act1"]


def test_digits_are_the_batch_of_the_mnist_networks(fanin) -> None:
    shown = fanin("check", "mnist-fc", "--batch", 50, "--json").json
    same = fanin("check", "mnist-fc", "--batch", 50, "--data", "mnist", "--json").json
    other = fanin("check", "mnist-fc", "--batch", 50, "--data", "random", "--json").json
    assert shown == same
    assert shown["loss"] == pytest.approx(2.3, abs=0.2)  # ln 10, near which an untrained classifier starts
    assert other["layers"][0]["forward"]["second"] != shown["layers"][0]["forward"]["second"]


def test_seed_and_recipe_choose_the_weights(fanin) -> None:
    def second(*arguments: object) -> float:
        return fanin("check", "mnist-fc", *arguments, "--json").json["layers"][0]["forward"]["second"]

    assert len({second(), second("--seed", 1), second("--recipe", "he")}) == 3


def test_weights_of_a_file_are_checked(fanin, tmp_path: Path) -> None:
    model = build("mnist-fc")
    for parameter in model.parameters():
        torch.nn.init.constant_(parameter, 0.01)
    library.save(model, tmp_path / "alike.gguf")
    done = fanin("check", "mnist-fc", "--weights", tmp_path / "alike.gguf")
    assert done.code == 1
    assert "verdict: symmetric" in done.out
    assert "fc1.weight" in done.out


def test_a_batch_of_ones_own(fanin, tmp_path: Path) -> None:
    batch = np.random.default_rng(0).normal(size=(64, 20)).astype(np.float32)
    np.save(tmp_path / "batch.npy", batch)
    shown = fanin("check", "mlp:20-30-5", "-r", "he", "--data", tmp_path / "batch.npy", "--json").json
    weight = library.materialize(
        build("mlp:20-30-5"), library.plan(library.models.factory("mlp:20-30-5"), "he")
    ).fc1.weight
    expected = float((torch.from_numpy(batch) @ weight.detach().T).square().mean())
    assert shown["layers"][0]["forward"]["second"] == pytest.approx(expected, rel=1e-5)


def test_a_batch_that_is_none(fanin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("batch.npy").write_text("no array")
    done = fanin("check", "mnist-fc", "--data", "batch.npy")
    assert done.code == 2
    assert done.error.startswith("batch.npy cannot be read as a batch (mnist, random or a .npy file): ")
    assert fanin("check", "mnist-fc", "--data", "nothing.npy").error == (
        "nothing.npy cannot be read as a batch (mnist, random or a .npy file): No such file or directory"
    )


def test_input_shape(fanin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text("import torch\ndef model():\n    return torch.nn.Conv2d(3, 6, 5)\n")
    shown = fanin("check", "mine.py:model", "--input", "3x9x8", "--batch", 4, "--json").json
    assert shown["layers"][0]["shape"] == [4, 6, 5, 4]


def test_the_usual_batch_is_smaller_for_sequences() -> None:
    assert [usual_batch(name) for name in ("mlp:3-2", "hf:gpt2", "folder/config.json")] == [100, 8, 8]
