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
dense.weight    10×784  head             784 → 10  normal       0.03571  [4]
dense.bias          10  bias                       zeros              0  [2]

[1] relu follows: gain 1.414 over fan-in 9
[2] a bias starts at 0
[3] relu follows: gain 1.414 over fan-in 72
[4] no nonlinearity follows: gain 1 over fan-in 784

6 tensors, 9,098 parameters
"""


@pytest.fixture
def deep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A user's model: nine equal layers and a head."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n"
        "class Deep(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.layers = nn.Sequential(*(nn.Sequential(nn.Linear(6, 6), nn.ReLU()) for _ in range(9)))\n"
        "        self.head = nn.Linear(6, 2)\n"
        "    def forward(self, x):\n"
        "        return self.head(self.layers(x))\n"
    )
    return "mine.py:Deep"


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


def test_repeated_layers_stand_in_one_row(fanin, deep: str) -> None:
    lines = fanin("plan", deep, "-r", "he", "--input", "6").out.splitlines()
    (row,) = (line for line in lines if line.startswith("layers.0-8.0.weight"))
    assert row.split()[:3] == ["layers.0-8.0.weight", "9", "6×6"]
    assert "20 tensors in 4 rows, 392 parameters" in lines
    every = fanin("plan", deep, "-r", "he", "--input", "6", "--all").out
    assert every.count("layers.") == 18
    assert every == fanin("plan", deep, "-r", "he", "--input", "6", "--no-group").out


def test_a_difference_groups_too(fanin, deep: str) -> None:
    done = fanin("plan", deep, "-r", "he", "--against", "lecun", "--input", "6")
    (row,) = (line for line in done.out.splitlines() if line.startswith("layers."))
    assert row.split()[:2] == ["layers.0-8.0.weight", "9"]
    assert "1.414" in row
    assert "source: recipe he 1: He et al. 2015, arXiv 1502.01852" in done.out
    assert fanin("plan", deep, "-r", "he", "--against", "lecun", "--input", "6", "--all").out.count("layers.") == 9


def test_markdown(fanin, deep: str) -> None:
    done = fanin("plan", deep, "-r", "he", "--input", "6", "--markdown")
    assert "| `layers.0-8.0.weight` | 9 | 6×6 | projection |" in done.out
    done = fanin("plan", deep, "-r", "he", "--against", "lecun", "--input", "6", "--markdown")
    assert "| `layers.0-8.0.weight` | 9 | 6×6 | projection | normal | 0.4082 | normal | 0.5774 | 1.414 |" in done.out


def test_explain(fanin, deep: str) -> None:
    done = fanin("plan", deep, "-r", "he", "--input", "6", "--explain", "layers.*.weight")
    assert done.out.startswith("layers.0-8.0.weight is a parameter of shape 6×6, float32.\n")
    assert "\nrelu follows: gain 1.414.\n" in done.out
    done = fanin("plan", deep, "--input", "6", "--explain", "layer.0")
    assert done.code == 2
    assert done.error.startswith("unknown tensor 'layer.0'; did you mean 'layers.")
    done = fanin("plan", deep, "--input", "6", "--explain", "head", "--against", "he")
    assert done.code == 2
    assert "--explain tells about one plan: leave --against out" in done.err


@pytest.mark.parametrize("width", [80, 120, 200])
def test_a_difference_fits_the_terminal(fanin, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("transformers")
    monkeypatch.setenv("COLUMNS", str(width))
    lines = fanin("plan", "hf:llama", "-r", "llama-depth", "--against", "native").out.splitlines()
    assert max(map(len, lines)) <= width
    assert len(lines) < 50
    text = " ".join(lines)
    assert "0.01395 … 0.002466" in text
    assert "0.6976 … 0.1233" in text
    assert "torchtitan llama3" in text


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


def test_recipes_are_listed(fanin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    lines = fanin("recipes").out.splitlines()[2:]
    assert [line.split()[0] for line in lines] == list(library.recipes.names())
    assert "std=0.02, cutoff=3, divide=layer, up=false" in next(
        line for line in lines if line.startswith("llama-depth")
    )
    assert [entry["name"] for entry in fanin("recipes", "--json").json] == list(library.recipes.names())


@pytest.mark.parametrize("name", library.recipes.names())
def test_a_recipe_is_shown_by_its_rules(fanin, name: str) -> None:
    done = fanin("recipes", name)
    assert done.code == 0
    recipe = library.recipes.named(name)
    assert done.out.startswith(f"{name}, version {recipe.version}: ")
    data = fanin("recipes", name, "--json").json
    assert data["name"] == name
    assert [option["name"] for option in data["options"]] == [each.name for each in library.recipes.options(name)]
    told = {rule["rule"] for rule in data["rules"]}
    silent = set(range(1, len(recipe.rules) + 1)) - told
    assert all(f"Rule {number} is for none of these" in done.out for number in silent)
    assert told or not recipe.rules
    for rule in data["rules"]:
        assert rule["for"]
        assert rule["why"]


def test_a_recipe_is_shown_with_its_numbers(fanin) -> None:
    rules = {label: rule for rule in fanin("recipes", "he", "--json").json["rules"] for label in rule["for"]}
    assert rules["projection"]["std"] == "0.08839"  # √(2/256)
    assert rules["convolution"]["std"] == "0.05893"  # √(2/(64·9))
    assert rules["depthwise convolution"]["std"] == "0.1429"  # √(1/49)


def test_a_rule_that_depends_on_the_layer_shows_its_range(fanin) -> None:
    rules = {label: rule for rule in fanin("recipes", "llama-depth", "--json").json["rules"] for label in rule["for"]}
    cut = 0.9865784
    assert rules["mlp down"]["std"] == f"{0.02 / 2**0.5 * cut:.4g} … {0.02 / 24**0.5 * cut:.4g}"
    assert rules["attention query"]["std"] == f"{0.02 * cut:.4g}"


def test_options_change_what_is_shown(fanin) -> None:
    rules = {label: rule for rule in fanin("recipes", "gpt2,std=0.1", "--json").json["rules"] for label in rule["for"]}
    assert rules["attention query"]["std"] == "0.1"
    assert rules["attention output"]["std"] == f"{0.1 / 24**0.5:.4g}"
