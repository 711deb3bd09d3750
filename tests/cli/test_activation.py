"""`fanin activation`: tables, JSON, depth, plots, own functions, errors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Command


def test_the_table_is_the_view(fanin: Command) -> None:
    import fanin as package

    done = fanin("activation", "tanh", "--weight-std", 1.3, "--bias-std", 0.3)
    assert (done.code, done.err) == (0, "")
    assert done.out == f"{package.activation('tanh', weight_std=1.3, bias_std=0.3)}\n"


def test_json_holds_view_and_layers(fanin: Command) -> None:
    data = fanin("activation", "relu", "--depth", 3, "--correlation", 0, "--json").json
    assert (data["phase"], data["survives"]) == ("critical", None)
    assert [layer["number"] for layer in data["layers"]] == [1, 2, 3]
    assert [layer["correlation"] for layer in data["layers"]][:2] == pytest.approx([0, 0.318310], abs=1e-5)


def test_a_deep_passage_shows_first_and_last_layer(fanin: Command) -> None:
    lines = fanin("activation", "relu", "--depth", 100).out.splitlines()
    table = [line.split() for line in lines[lines.index("") + 1 :]]
    assert table[0] == ["layer", "q", "c", "gradient"]
    assert (len(table), table[1][0], table[-1][0]) == (13, "1", "100")


def test_own_functions_by_file_and_by_module(fanin: Command, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("def half(x):\n    return x / 2\n")
    data = fanin("activation", f"{path}:half", "--json").json
    assert (data["activation"], data["weight_std"]) == ("half", pytest.approx(2))
    named, own = (fanin("activation", name, "--weight-std", 1.2, "--json").json for name in ("gelu", "torch.nn:GELU"))
    assert own["chi"] == pytest.approx(named["chi"])


def test_parameter(fanin: Command) -> None:
    assert fanin("activation", "leaky_relu", "--parameter", 0.5, "--json").json["weight_std"] ** 2 == pytest.approx(1.6)


def test_png(fanin: Command, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "gelu.png"
    assert fanin("activation", "gelu", "--png", path).code == 0
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("gellu",), "unknown activation 'gellu'; did you mean 'gelu'"),
        (("gelu", "--weight-std", "-1"), "weight_std must be a positive number, got -1.0"),
        (("math:pi",), "function 'math:pi' is a float, which cannot be called"),
        (("no.such.module:f",), "function 'no.such.module:f': there is no importable module"),
        (("math:tanhh",), "unknown function in math 'tanhh'"),
        (("nowhere.py:f",), "function 'nowhere.py:f': there is no file 'nowhere.py'"),
        (("numpy:sign", "--weight-std", "1"), "sign jumps"),
    ],
)
def test_bad_input_is_one_sentence(fanin: Command, arguments: tuple[str, ...], message: str) -> None:
    done = fanin("activation", *arguments)
    assert done.code == 2
    assert message in done.error
