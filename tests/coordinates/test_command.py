"""`fanin coord-check`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fanin.cli import run

MLP = ["coord-check", "mlp:10-{width}-{width}-4", "--widths", "64,128,256", "--seeds", "2", "--steps", "2"]


def test_passes_and_fails_by_exit_code(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    assert run([*MLP, "--zero-readout", "--plot", str(tmp_path / "check.png")]) == 0
    assert "passed: every slope is below 0.15" in capsys.readouterr().out
    assert (tmp_path / "check.png").stat().st_size > 1000
    assert run([*MLP, "-p", "standard", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["passed"] is False
    assert told["sizes"] == [64, 128, 256]


def test_depth_and_multiples(capsys: pytest.CaptureFixture[str]) -> None:
    model = "hf:gpt2,n_embd=16,n_layer={2*depth},n_head=2,vocab_size=32,n_positions=16,bos_token_id=0,eos_token_id=0"
    code = run(["coord-check", model, "--depths", "1,2,3", "-p", "depth-mup", "--lr", "0.001", "--seeds", "1"])
    assert code in (0, 1)
    assert "depth-mup · depth 1, 2, 3" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mlp:10-20-4", "--widths", "1,2,3"], "must say where the width goes"),
        (["mlp:10-{depth}-4", "--widths", "1,2,3"], "must say where the width goes"),
        (["mlp:10-{width}-4", "--depths", "1,2,3"], "depth goes, and nothing else, as in hf:gpt2,n_layer={depth}"),
        (["hf:gpt2,n_embd={width},n_head=4", "--widths", "30,60,90"], "transformers refuses this config"),
        (["mlp:10-{width}-4", "--widths", "1,2,x"], "not whole numbers joined by commas"),
        (["mlp:10-{width}-4", "--widths", "8,16"], "at least 3 different widths"),
        (["mlp:10-{width}-4"], "give widths= or depths="),
        (["mlp:10-{width}-4", "--widths", "8,16,32", "-p", "mub"], "did you mean 'mup'"),
    ],
)
def test_bad_input(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["coord-check", *arguments]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
