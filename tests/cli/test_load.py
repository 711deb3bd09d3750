"""`fanin load`: the ledger printed, the loaded model written, what goes wrong in one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from fanin.models import build


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(1)
    state = build("mlp:6-5-3").state_dict()
    save_file({f"module.{name}": value for name, value in state.items()}, tmp_path / "old.safetensors")
    return tmp_path / "old.safetensors"


def test_a_model_is_loaded_and_written(fanin: Any, weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "new.safetensors"
    done = fanin("load", "mlp:6-5-3", weights, "-o", out)
    assert done.code == 0, done.err
    assert done.out.startswith("MLP ← old.safetensors\n") or done.out.splitlines()[0].endswith("← old.safetensors")
    assert "loaded 4 (212 B)" in done.out
    stored = load_file(weights)
    assert {f"module.{name}" for name in load_file(out)} == set(stored)
    assert all(torch.equal(value, stored[f"module.{name}"]) for name, value in load_file(out).items())


def test_json_is_the_ledger(fanin: Any, weights: Path) -> None:
    data = fanin("load", "mlp:6-5-7", weights, "--policy", "fc2=redraw", "-r", "he", "--seed", 3, "--json").json
    assert [entry["name"] for entry in data["loaded"]] == ["fc1.weight", "fc1.bias"]
    assert [entry["name"] for entry in data["drawn"]] == ["fc2.weight", "fc2.bias"]
    assert (data["recipe"], data["seed"]) == ("he", 3)


def test_drawn_tensors_are_those_of_init(fanin: Any, weights: Path, tmp_path: Path) -> None:
    fanin(
        "load",
        "mlp:6-5-7",
        weights,
        "--policy",
        "fc2=redraw",
        "-r",
        "he",
        "--seed",
        3,
        "-o",
        tmp_path / "a.safetensors",
    )
    fanin("init", "mlp:6-5-7", "-r", "he", "--seed", 3, "-o", tmp_path / "b.safetensors")
    a, b = load_file(tmp_path / "a.safetensors"), load_file(tmp_path / "b.safetensors")
    assert torch.equal(a["fc2.weight"], b["fc2.weight"])
    assert not torch.equal(a["fc1.weight"], b["fc1.weight"])


def test_rules_in_the_command_and_in_a_file(fanin: Any, tmp_path: Path) -> None:
    save_file({"first.weight": torch.ones(5, 6), "second.weight": torch.ones(3, 5)}, tmp_path / "a.safetensors")
    (tmp_path / "rules.json").write_text(json.dumps({"second.weight": None}))
    rules = ("--rename", r"^first\.=fc1.", "--rename", tmp_path / "rules.json")
    data = fanin("load", "mlp:6-5-3", tmp_path / "a.safetensors", *rules, "--json").json
    assert [entry["name"] for entry in data["loaded"]] == ["fc1.weight"]
    assert data["unused"] == [
        {"source": str(tmp_path / "a.safetensors"), "key": "second.weight", "shape": [3, 5], "bytes": 60}
        | {"why": "left out by rename"}
    ]


def test_a_dry_run_writes_nothing(fanin: Any, weights: Path, tmp_path: Path) -> None:
    done = fanin("load", "mlp:6-5-3", weights, "--dry-run", "-o", tmp_path / "new.safetensors")
    assert done.code == 0
    assert "(dry run: nothing was written)" in done.out
    assert not (tmp_path / "new.safetensors").exists()


def test_only_some_tensors_are_loaded_and_the_others_drawn(fanin: Any, weights: Path, tmp_path: Path) -> None:
    out, drawn = tmp_path / "new.safetensors", tmp_path / "drawn.safetensors"
    only = ("--only", "fc2", "--only", "*.bias")
    data = fanin("load", "mlp:6-5-3", weights, *only, "--seed", 5, "-o", out, "--json").json
    assert [entry["name"] for entry in data["loaded"]] == ["fc1.bias", "fc2.weight", "fc2.bias"]
    assert [entry["name"] for entry in data["drawn"]] == ["fc1.weight"]
    assert data["drawn"][0]["why"].startswith("not among the tensors to load; ")
    fanin("init", "mlp:6-5-3", "--seed", 5, "-o", drawn)
    seen, stored = load_file(out), load_file(weights)
    assert torch.equal(seen["fc1.weight"], load_file(drawn)["fc1.weight"])
    assert all(torch.equal(seen[name], stored[f"module.{name}"]) for name in seen if name != "fc1.weight")


def test_a_dtype_is_the_models_and_rounds_once(fanin: Any, weights: Path, tmp_path: Path) -> None:
    out, drawn = tmp_path / "new.safetensors", tmp_path / "drawn.safetensors"
    done = fanin("load", "mlp:6-5-3", weights, "--dtype", "bf16", "--only", "fc2", "--seed", 5, "-o", out)
    assert done.code == 0, done.err
    fanin("init", "mlp:6-5-3", "--seed", 5, "--dtype", "bf16", "-o", drawn)
    seen, stored = load_file(out), load_file(weights)
    assert {value.dtype for value in seen.values()} == {torch.bfloat16}
    assert all(torch.equal(seen[name], stored[f"module.{name}"].bfloat16()) for name in ("fc2.weight", "fc2.bias"))
    assert all(torch.equal(seen[name], load_file(drawn)[name]) for name in ("fc1.weight", "fc1.bias"))


def test_what_does_not_fit_is_one_sentence(fanin: Any, weights: Path, tmp_path: Path) -> None:
    done = fanin("load", "mlp:6-5-7", weights, "-o", tmp_path / "new.safetensors")
    assert done.code == 2
    assert (
        "'module.fc2.weight' has shape [3, 5], the model wants [7, 5] (policy pad or tile would fit it)" in done.error
    )
    assert not (tmp_path / "new.safetensors").exists()


BAD = {
    "no file": (("mlp:6-5-3", "none.safetensors"), "none.safetensors: there is no such file"),
    "a policy": (("mlp:6-5-3", "old.safetensors", "--policy", "stretch"), "unknown policy 'stretch'"),
    "policies": (("mlp:6-5-3", "old.safetensors", "--policy", "slice", "--policy", "pad"), "written as PATTERN=POLICY"),
    "a rule": (("mlp:6-5-3", "old.safetensors", "--rename", "nothing"), "is neither a file of rules nor OLD=NEW"),
    "names": (("mlp:6-5-3", "other.safetensors"), "Say with --rename which is which"),
    "shapes": (("mlp:6-5-7", "old.safetensors"), "Say with --policy what to do"),
    "dtypes": (("mlp:6-5-3", "double.safetensors"), "give --cast or convert the model"),
    "a pattern": (("mlp:6-5-3", "old.safetensors", "--only", "fc9*"), "unknown tensor or module 'fc9*'"),
    "a dtype": (("mlp:6-5-3", "old.safetensors", "--dtype", "f8"), "'f8' is not one of 'f32', 'f16', 'bf16'"),
    "values": (("mlp:6-5-3", "nan.safetensors"), "give --allow-nonfinite to load them as they are"),
    "an output": (("mlp:6-5-3", "old.safetensors", "-o", "out/"), "a loaded model is written as one file"),
    "strict": (("mlp:6-5-3-2", "old.safetensors", "--strict"), "the file lacks 'fc3.weight', 'fc3.bias'"),
    "an output there": (("mlp:6-5-3", "old.safetensors", "-o", "old.safetensors"), "old.safetensors exists"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(fanin: Any, weights: Path, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    arguments, text = BAD[case]
    monkeypatch.chdir(weights.parent)
    state = load_file(weights)
    save_file({"other": torch.ones(2)}, "other.safetensors")
    save_file({name: value.double() + 1e-12 for name, value in state.items()}, "double.safetensors")
    save_file({name: value * torch.nan for name, value in state.items()}, "nan.safetensors")
    done = fanin("load", *arguments)
    assert done.code == 2
    assert text in " ".join(done.err.split())
