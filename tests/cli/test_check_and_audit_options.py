"""Options of `fanin check` and `fanin audit`: what fails, what excludes what, what cannot be read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import fanin as library
from fanin.models import build


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "weights.safetensors"
    model = build("mnist-fc")
    library.initialize(model, "he")
    library.save(model, path)
    return path


@pytest.mark.parametrize(("least", "code"), [("error", 0), ("warning", 1), ("info", 1), ("never", 0)])
def test_fail_on_says_how_grave_a_finding_must_be(fanin, least: str, code: int) -> None:
    done = fanin("check", "mlp:16-32-10", "--lr", 0.5, "--fail-on", least, "--summary")
    assert "1 warning" in done.out
    assert done.code == code


@pytest.mark.parametrize("lr", ["0", "-1", "nan", "inf"])
def test_learning_rates_are_positive(fanin, lr: str) -> None:
    done = fanin("check", "mlp:16-32-10", f"--lr={lr}")
    assert done.code == 2
    assert "lr must be a positive number" in done.err


def test_thorough_measures_more(fanin) -> None:
    layer = fanin("check", "mlp:16-32-10", "--thorough", "--json").json["layers"][0]
    assert layer["jacobian"]["largest"] > 0
    assert 0 < layer["precision"] < 0.05


def test_numpys_own_float64_is_a_batch(fanin, tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(16, 16))
    for name, dtype in (("wide", "f8"), ("narrow", "f4")):
        np.save(tmp_path / f"{name}.npy", values.astype(dtype))
    wide, narrow = (
        fanin("check", "mlp:16-32-10", "--inputs", tmp_path / f"{name}.npy", "--json").json
        for name in ("wide", "narrow")
    )
    assert wide == narrow


def test_one_form_of_output_at_a_time(fanin) -> None:
    done = fanin("check", "mlp:16-32-10", "--json", "--summary")
    assert done.code == 2
    assert "--json, --markdown and --summary exclude each other" in done.err


def test_audit_refuses_options_that_it_would_ignore(fanin, weights: Path) -> None:
    for arguments, said in (
        (("mnist-fc", "--reference", weights), "mnist-fc has only a plan: give --weights or --drawn"),
        ((weights, "--drawn"), "holds weights already"),
        ((weights, "--weights", weights), "holds weights already"),
        (("mnist-fc", "--weights", weights, "--drawn"), "--weights and --drawn exclude each other"),
    ):
        done = fanin("audit", *arguments)
        assert done.code == 2
        assert said in " ".join(done.err.split())


def test_audit_compares_with_a_reference(fanin, weights: Path) -> None:
    assert fanin("audit", "mnist-fc", "--weights", weights, "--reference", weights).code == 0
    other = fanin("audit", "mnist-fc", "--drawn", "--recipe", "xavier", "--reference", weights)
    assert other.code == 1
    assert "fc1.weight" in other.out
