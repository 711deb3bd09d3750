"""`fanin plan` and `fanin recipes`."""

from __future__ import annotations

from pathlib import Path

import pytest

import fanin as library

MNIST_CNN = """\
mnist-cnn · recipe he

tensor           shape  role         fan in → out  initializer      std  why
────────────────────────────────────────────────────────────────────────────
conv1.weight   8×1×3×3  convolution        9 → 72  normal        0.4714  [1]
conv1.bias           8  bias                       zeros              0  [2]
conv2.weight  16×8×3×3  convolution      72 → 144  normal        0.1667  [3]
conv2.bias          16  bias                       zeros              0  [2]
dense.weight    10×784  projection       784 → 10  normal       0.03571  [4]
dense.bias          10  bias                       zeros              0  [2]

[1] relu follows: gain 1.414 over fan-in 9
[2] a bias starts at 0
[3] relu follows: gain 1.414 over fan-in 72
[4] no nonlinearity follows: gain 1 over fan-in 784

6 tensors, 9,098 parameters
"""


def test_plan_as_text(fanin) -> None:
    done = fanin("plan", "mnist-cnn", "--recipe", "he")
    assert done.code == 0
    assert [line.rstrip() for line in done.out.splitlines()] == MNIST_CNN.splitlines()
    assert done.err == ""


def test_json_is_the_plan(fanin) -> None:
    done = fanin("plan", "mlp:20-30-5,activation=gelu", "-r", "xavier", "--json")
    made = library.plan(library.models.factory("mlp:20-30-5,activation=gelu"), "xavier")
    assert library.Plan.from_json(done.out).steps == made.steps


def test_output_is_the_plan_beside_the_table(fanin, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    done = fanin("plan", "mnist-fc", "-o", path)
    assert done.out.startswith("mnist-fc · recipe native\n")
    assert library.Plan.from_json(path.read_text(encoding="utf-8")).recipe == "native"


def test_against_shows_what_differs_from_it(fanin) -> None:
    done = fanin("plan", "mnist-fc", "--recipe", "he", "--against", "xavier")
    assert done.code == 0
    assert done.out.startswith("mnist-fc: xavier → he\n")
    assert "2 of 4 tensors the same" in done.out
    data = fanin("plan", "mnist-fc", "--recipe", "he", "--against", "xavier", "--json").json
    assert list(data["changed"]) == ["fc1.weight", "fc2.weight"]
    assert [side["action"]["law"] for side in data["changed"]["fc1.weight"]] == ["Uniform", "Normal"]


def test_a_tensor_nobody_understood_is_a_finding(fanin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(
        "import torch\n"
        "class Empty(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.weight = torch.nn.Parameter(torch.empty(3, 2))\n"
        "    def forward(self, x):\n"
        "        return x @ self.weight.T\n"
    )
    done = fanin("plan", "mine.py:Empty", "--input", "2")
    assert done.code == 1
    assert "nobody could say where weight comes from" in done.out


def test_input_shape_is_traced(fanin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("import torch\ndef model():\n    return torch.nn.Conv2d(3, 6, 5, groups=3)\n")
    step = fanin("plan", "mine.py:model", "-r", "he", "--input", "3x8x8", "--json").json["steps"][0]
    assert (step["axes"]["groups"], step["role"]) == (3, "convolution")


def test_recipes_are_listed(fanin) -> None:
    done = fanin("recipes")
    assert done.code == 0
    assert [line.split()[0] for line in done.out.splitlines()[2:]] == list(library.recipes.names())
    assert [entry["name"] for entry in fanin("recipes", "--json").json] == list(library.recipes.names())


@pytest.mark.parametrize("name", library.recipes.names())
def test_a_recipe_is_shown_by_what_it_does(fanin, name: str) -> None:
    done = fanin("recipes", name)
    assert done.code == 0
    assert done.out.startswith(f"{name}, version 1: ")
    data = fanin("recipes", name, "--json").json
    assert data["name"] == name
    assert len(data["examples"]) == 8


def test_a_recipe_is_shown_with_its_numbers(fanin) -> None:
    rows = {line.split()[0]: line for line in fanin("recipes", "he").out.splitlines() if line}
    assert "0.08839" in rows["projection"]  # √(2/256)
    assert "0.08333" in rows["convolution"]  # √(2/288)
