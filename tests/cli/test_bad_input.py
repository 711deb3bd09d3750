"""Bad input on the command: exit code 2, one clear sentence, no half-written file."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

import fanin as library
from fanin.models import build


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A sound file of mnist-fc."""
    path = tmp_path / "sound.safetensors"
    library.save(build("mnist-fc"), path)
    return path


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def full(handle: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("verb", ["plan", "check", "count"])
def test_unknown_model(fanin, verb: str) -> None:
    done = fanin(verb, "mnist-cn")
    assert done.code == 2
    assert done.error.startswith("unknown model 'mnist-cn'; did you mean 'mnist-cnn'")
    assert done.out == ""


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ("mlp:784-x-10", "option widths of mlp must be none or whole numbers joined by - or x, got '784-x-10'"),
        ("mlp:784-10,widht=3", "unknown option of mlp 'widht'; did you mean 'width' or 'widths'?"),
        ("hf:no-such-type", "no-such-type"),
        ("nowhere.py:model", "nowhere.py"),
        ("nowhere.json", "nowhere.json"),
    ],
)
def test_models_that_cannot_be_meant(fanin, model: str, sentence: str) -> None:
    done = fanin("plan", model)
    assert done.code == 2
    assert sentence in done.error


@pytest.mark.parametrize(
    "arguments", [("plan", "mnist-fc"), ("check", "mnist-fc"), ("init", "mnist-fc", "-o", "a.gguf")]
)
def test_unknown_recipe(fanin, arguments: tuple[str, ...], tmp_path: Path) -> None:
    done = fanin(*arguments, "--recipe", "xaver")
    assert done.code == 2
    assert done.error.startswith("unknown recipe 'xaver'; did you mean 'xavier'? Known: ")
    assert files(tmp_path) == []


def test_unknown_recipe_to_compare_with(fanin) -> None:
    assert "unknown recipe 'hee'" in fanin("plan", "mnist-fc", "--against", "hee").error


def test_weights_file_that_is_not_there(fanin) -> None:
    done = fanin("check", "mnist-fc", "--weights", "nowhere.gguf")
    assert done.code == 2
    assert done.error == "nowhere.gguf: there is no such file"


def test_weights_file_of_another_kind(fanin, tmp_path: Path) -> None:
    (tmp_path / "notes.gguf").write_text("these are notes, not weights; " * 40)
    done = fanin("check", "mnist-fc", "--weights", "notes.gguf")
    assert done.code == 2
    assert done.error.startswith("notes.gguf: ")
    assert "these" in done.error or "GGUF" in done.error


def test_truncated_weights_file(fanin, weights: Path) -> None:
    content = weights.read_bytes()
    weights.write_bytes(content[: len(content) // 2])
    done = fanin("check", "mnist-fc", "--weights", weights)
    assert done.code == 2
    assert done.error.startswith(f"{weights}: ")
    assert "byte" in done.error


def test_weights_of_another_shape(fanin, weights: Path) -> None:
    done = fanin("check", "mlp:784-300-10", "--weights", weights)
    assert done.code == 2
    assert "500" in done.error
    assert "300" in done.error
    assert "fc1" in done.error


def test_nan_in_the_batch(fanin, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(
        "import torch\n"
        "class Broken(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.fc = torch.nn.Linear(3, 2)\n"
        "    def forward(self, x):\n"
        "        return self.fc(x)\n"
    )
    import numpy as np

    batch = np.ones((4, 3), np.float32)
    batch[2, 1] = np.nan
    np.save(tmp_path / "batch.npy", batch)
    done = fanin("check", "broken.py:Broken", "--data", "batch.npy")
    assert done.code == 2
    assert done.error == (
        "the batch holds 1 non-finite values of 12, the first (nan) at index [2, 1]: "
        "clean the data before checking the model"
    )


def test_full_disk_leaves_nothing(fanin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", full)
    for name in ("a.safetensors", "a.gguf"):
        done = fanin("init", "mnist-fc", "-o", name)
        assert done.code == 2
        assert done.error == f"{name}: cannot be written: the disk is full"
    assert files(tmp_path) == []


def test_full_disk_leaves_an_older_file_as_it_was(fanin, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = weights.read_bytes()

    monkeypatch.setattr(os, "fsync", full)
    assert fanin("init", "mnist-fc", "-o", weights, "--force").code == 2
    assert weights.read_bytes() == before
    assert files(weights.parent) == [weights.name]


def test_read_only_folder(fanin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = os.open

    # Root may write anywhere, so the refusal is made, not the folder.
    def refusing(path, flags: int, *rest: int) -> int:
        if flags & os.O_CREAT:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return opened(path, flags, *rest)

    monkeypatch.setattr(os, "open", refusing)
    done = fanin("init", "mnist-fc", "-o", "a.gguf")
    assert done.code == 2
    assert done.error == f"a.gguf: cannot be written: the folder {str(tmp_path)!r} is read-only for this user"
    assert files(tmp_path) == []


def test_missing_folder(fanin, tmp_path: Path) -> None:
    done = fanin("init", "mnist-fc", "-o", "no/where/a.gguf")
    assert done.code == 2
    assert done.error == f"no/where/a.gguf: cannot be written: there is no folder {str(tmp_path / 'no/where')!r}"


def test_plan_that_cannot_be_written(fanin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = fanin("plan", "mlp:3-2", "-o", "no/plan.json")
    assert done.code == 2
    assert done.error == f"no/plan.json: cannot be written: there is no folder {str(tmp_path / 'no')!r}"
    monkeypatch.setattr(os, "fsync", full)
    assert fanin("plan", "mlp:3-2", "-o", "plan.json").error == "plan.json: cannot be written: the disk is full"
    assert files(tmp_path) == []


def test_a_tensor_that_nobody_understood_is_not_drawn(fanin, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import torch\n"
        "class Empty(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.weight = torch.nn.Parameter(torch.empty(3, 2))\n"
    )
    done = fanin("init", "mine.py:Empty", "-o", "a.gguf")
    assert done.code == 2
    assert done.error.startswith("the plan does not know where the values of 1 tensors come from: weight (")
    assert files(tmp_path) == ["mine.py"] or files(tmp_path) == ["__pycache__", "mine.py"]


def test_suffix_nobody_knows(fanin, tmp_path: Path) -> None:
    done = fanin("init", "mnist-fc", "-o", "a.bin")
    assert done.code == 2
    assert "a.bin: weights are written as .safetensors or .gguf" in done.error
    assert files(tmp_path) == []


def test_an_existing_file_is_kept_unless_forced(fanin, weights: Path) -> None:
    before = weights.read_bytes()
    done = fanin("init", "mnist-fc", "-o", weights)
    assert done.code == 2
    assert done.error == f"{weights} exists: choose another name, or replace it with --force"
    assert weights.read_bytes() == before
    assert fanin("init", "mnist-fc", "-o", weights, "--force").code == 0
    assert weights.read_bytes() != before


@pytest.mark.parametrize("text", ["not JSON", "{}", '{"fanin_plan": 99, "stream": 2}'])
def test_plan_file_that_is_none(fanin, tmp_path: Path, text: str) -> None:
    (tmp_path / "plan.json").write_text(text)
    done = fanin("init", "mnist-fc", "--plan", "plan.json", "-o", "a.gguf")
    assert done.code == 2
    assert done.error.startswith("plan.json cannot be read as a plan: ")
    assert files(tmp_path) == ["plan.json"]


def test_plan_of_another_model(fanin, tmp_path: Path) -> None:
    assert fanin("plan", "mlp:784-300-10", "-o", "plan.json", "--json").code == 0
    done = fanin("init", "mnist-fc", "--plan", "plan.json", "-o", "a.gguf")
    assert done.code == 2
    assert "300" in done.error
    assert files(tmp_path) == ["plan.json"]


@pytest.mark.parametrize(
    ("option", "value"), [("--seed", "one"), ("--batch", 0), ("--input", "3xx4"), ("--input", "0x4"), ("--dtype", "f8")]
)
def test_options_out_of_range(fanin, option: str, value: object) -> None:
    verb = {"--dtype": "init", "--seed": "init", "--batch": "count", "--input": "plan"}[option]
    done = fanin(verb, "mnist-fc", option, value)
    assert done.code == 2
    assert option in done.err


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_seed_out_of_range(fanin, seed: int, tmp_path: Path) -> None:
    done = fanin("init", "mnist-fc", "--seed", seed, "-o", "a.gguf")
    assert done.code == 2
    assert done.error == f"seed must be from 0 to 2**64 - 1, got {seed}"
    assert files(tmp_path) == []


def test_input_that_nobody_knows_must_be_given(fanin, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import torch\ndef model():\n    return torch.nn.Bilinear(2, 3, 4)\n")
    done = fanin("check", "mine.py:model")
    assert done.code == 2
    assert done.error == (
        "nobody knows what mine.py:model takes as input: give the shape of one sample, as in --input 3x224x224"
    )
