"""Recipes written in TOML: ten lines that work, and errors that name the rule and the key."""

from __future__ import annotations

from math import log, pi, sqrt

import pytest
from torch import nn

import fanin
from fanin.axes import Axes
from fanin.errors import ArgumentError, UnknownNameError
from fanin.graph import Place, Use
from fanin.initializers import Constant, Normal, Orthogonal, TruncatedNormal
from fanin.recipes import Formula, Recipe, TensorInfo, named
from fanin.schemes import he_normal

TEN_LINES = """
name = "mine"
source = "my notes"
rules = [
  { name = "head", law = "normal", std = "1 / sqrt(fan_in)", why = "logits of variance 1" },
  { last = true, law = "truncated_normal", std = "0.02 / sqrt(branches)", lower = -3, upper = 3, corrected = false },
  { role = ["projection", "mlp up"], activation = "relu", scheme = "he_normal", gain = "gain" },
  { role = "norm scale", law = "keep", why = "the authors know" },
  { role = "bias", law = "constant", value = 0 },
]
"""
PLACE = Place("h", 1, 4, "encoder", 4, 6, 2, 8, 2, True, 64)


def tensor(name="fc.weight", role="projection", shape=(64, 256), activation="relu", **fields):
    use = Use(name, "linear", Axes.linear(shape), activation, heads=8)
    return TensorInfo(name, shape, "float32", "parameter", role, (use,), **fields)


def law(recipe, info):
    return recipe.choose(info).initializer


def test_ten_lines():
    recipe = Recipe.from_toml(TEN_LINES)
    assert (recipe.name, recipe.source, recipe.version, len(recipe.rules)) == ("mine", "my notes", 1, 5)
    assert law(recipe, tensor("head.weight")) == Normal(std=1 / 16)
    assert law(recipe, tensor(place=PLACE)) == TruncatedNormal(0.0, 0.02 / sqrt(8), -3.0, 3.0, corrected=False)
    assert law(recipe, tensor()) == he_normal(Axes.linear((64, 256)), sqrt(2))
    assert recipe.choose(tensor(activation="gelu")) is None
    assert law(recipe, TensorInfo("b", (4,), "float32", "parameter", "bias")) == Constant(0.0)
    whole = law(recipe, TensorInfo("b", (4,), "float32", "parameter", "bias")).value
    assert isinstance(whole, float), "so that equal laws have equal JSON"
    kept = recipe.choose(TensorInfo("n", (4,), "float32", "parameter", "norm scale"))
    assert (kept.initializer, kept.why, kept.source) == (None, "the authors know", "recipe mine 1: my notes")
    assert recipe.choose(tensor("head.weight")).why == "logits of variance 1"
    assert recipe.choose(tensor(place=PLACE)).why == "for last = True"


def test_from_a_file_in_a_plan_and_in_the_command(tmp_path, capsys, monkeypatch):
    path = tmp_path / "mine.toml"
    path.write_text(TEN_LINES + "\n", encoding="utf-8")
    assert Recipe.from_toml(path).name == Recipe.from_toml(str(path)).name == "mine"
    plan = fanin.plan(lambda: nn.Sequential(nn.Linear(784, 500), nn.ReLU(), nn.Linear(500, 10)), str(path))
    assert plan["0.weight"].std == pytest.approx(sqrt(2 / 784))
    assert plan["2.bias"].initializer == Constant(0.0)
    assert named(f"{path}|he").choose(tensor(activation="gelu")).source.startswith("recipe he 1")
    from fanin.cli import run

    assert run(["plan", "mlp:784-500-10", "--recipe", str(path), "--json"]) == 0
    assert '"law": "Constant"' in capsys.readouterr().out


def test_matches_of_every_kind():
    recipe = Recipe.from_toml(
        """
        name = "m"
        [[rules]]
        side = "encoder"
        role = "mlp down"
        law = "constant"
        value = 1
        [[rules]]
        partner = "mlp up"
        law = "constant"
        value = 2
        [[rules]]
        stack = false
        role = "projection"
        law = "constant"
        value = 3
        [[rules]]
        stack = true
        law = "orthogonal"
        rows = [0]
        gain = "sqrt(2)"
        """
    )
    assert law(recipe, tensor(role="mlp down", place=PLACE)) == Constant(1.0)
    bias = TensorInfo("b", (4,), "float32", "parameter", "bias", partner_role="mlp up")
    assert law(recipe, bias) == Constant(2.0)
    assert law(recipe, tensor()) == Constant(3.0)
    assert law(recipe, tensor(place=PLACE)) == Orthogonal(sqrt(2), (0,))


def rules(*lines):
    return 'name = "m"\nrules = [\n' + ",\n".join(lines) + "\n]\n"


REFUSED = [
    ("name = ", "recipe is not TOML: Invalid value"),
    ("", "recipe: name is missing or empty"),
    ('name = "m"', "recipe: rules is missing or empty"),
    ('name = "m"\nrule = 3', "recipe: unknown key 'rule'; known: name, rules, title, source, version"),
    ('name = "m"\nversion = "1"', "recipe: version must be a whole number, got '1'"),
    ("name = 3", "recipe: name must be a string, got 3"),
    (rules("3"), "recipe, rule 1 must be a table, as { role"),
    (rules('{ law = "normal" }'), "recipe, rule 1: it does not say which tensors it is for: give one or more of role,"),
    (rules('{ role = "bias" }'), 'recipe, rule 1: give either law = "…" (an initializer, or "keep") or scheme = "…"'),
    (rules('{ role = "bias", law = "normal", scheme = "standard" }'), "recipe, rule 1: give either law"),
    (rules('{ role = "bias", law = "keep", std = 1 }'), "recipe, rule 1: unknown key 'std' for 'keep'; known: none"),
    (
        rules('{ role = "bias", law = "keep" }', '{ role = "bias", law = "normal", sdt = 1 }'),
        "recipe, rule 2: unknown key 'sdt' for 'normal'; known: mean, std",
    ),
    (
        rules('{ role = "bias", law = "normal", std = -1 }'),
        "recipe, rule 1: Normal: std must not be negative, got -1.0",
    ),
    (
        rules('{ role = "bias", law = "constant", value = [] }'),
        "recipe, rule 1: Constant: value must be a number and not",
    ),
    (rules('{ role = 3, law = "keep" }'), "recipe, rule 1: role must be a string or a list of strings, got 3"),
    (rules('{ role = [], law = "keep" }'), "recipe, rule 1: role must be a string or a list of strings, got []"),
    (rules('{ last = "yes", law = "keep" }'), "recipe, rule 1: last must be true or false, got 'yes'"),
    (rules('{ role = "bias", law = "keep", why = 3 }'), "recipe, rule 1: why must be a string, got 3"),
    (
        rules('{ role = "bias", law = "normal", std = "import os" }'),
        "recipe, rule 1: std: 'import os' is not a formula",
    ),
    (
        rules('{ role = "bias", law = "normal", std = "open(fan_in)" }'),
        "recipe, rule 1: std: 'open(fan_in)' cannot stand in a formula: only numbers,",
    ),
]
UNKNOWN = [
    (rules('{ role = "biass", law = "keep" }'), "recipe, rule 1: unknown role 'biass'; did you mean 'bias'"),
    (rules('{ role = "bias", law = "norml" }'), "recipe, rule 1: unknown law 'norml'; did you mean 'normal'"),
    (rules('{ role = "bias", scheme = "he" }'), "recipe, rule 1: unknown scheme 'he'"),
    (
        rules('{ role = "bias", law = "normal", std = "1 / fanin" }'),
        "recipe, rule 1: std: unknown quantity 'fanin'; did you mean 'fan_in'",
    ),
]


@pytest.mark.parametrize(("text", "said"), REFUSED, ids=[said for _, said in REFUSED])
def test_what_cannot_be_read_is_refused(text, said):
    with pytest.raises(ArgumentError) as caught:
        Recipe.from_toml(text)
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize(("text", "said"), UNKNOWN, ids=[said for _, said in UNKNOWN])
def test_unknown_names_suggest_the_nearest(text, said):
    with pytest.raises(UnknownNameError) as caught:
        Recipe.from_toml(text)
    assert str(caught.value).startswith(said)


def test_files_are_named(tmp_path):
    with pytest.raises(ArgumentError, match=r"recipe file .*none\.toml cannot be read: No such file"):
        Recipe.from_toml(tmp_path / "none.toml")
    broken = tmp_path / "broken.toml"
    broken.write_bytes(b"\xff")
    with pytest.raises(ArgumentError, match=r"recipe file .*broken\.toml is not TOML"):
        Recipe.from_toml(broken)


def test_a_quantity_that_the_tensor_lacks_names_rule_and_tensor():
    recipe = Recipe.from_toml(rules('{ role = "projection", law = "normal", std = "1 / layers" }'))
    with pytest.raises(ArgumentError) as caught:
        recipe.choose(tensor())
    assert str(caught.value) == (
        "recipe 'm' cannot initialize 'fc.weight': layers is not known for 'fc.weight' (role projection)"
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("fan_in", 256),
        ("fan_out", 64),
        ("gain", sqrt(2)),
        ("layer", 1),
        ("layers", 4),
        ("branch", 2),
        ("branches", 8),
        ("members", 2),
        ("width", 64),
        ("heads", 8),
        ("encoder_layers", 4),
        ("decoder_layers", 6),
        ("model_layers", 4),
        ("model_branches", 20),
        ("rows", 64),
        ("columns", 256),
        ("size", 64 * 256),
        ("pi", pi),
        ("-2 ** 2 + +3", -1),
        ("(1 + 2) * 3 / 2 - 0.5", 4),
        ("max(rows, columns, 3) - min(1, 2)", 255),
        ("abs(-log(2))", log(2)),
    ],
)
def test_formulas(text, value):
    assert Formula(text)(tensor(place=PLACE, model_layers=4, model_branches=20)) == pytest.approx(value, rel=1e-15)


@pytest.mark.parametrize(
    "text",
    ["", "x if 1 else 2", "[1]", "fan_in.real", "'a'", "True", "1j", "sqrt()", "sqrt(1, 2)", "min(1)", "min(x=1, y=2)",
     "lambda: 1", "(1, 2)", "1 // 2", "1 % 2", "not 1", "1 < 2", "__import__('os')", "sqrt", "f'{1}'", "1 and 2"],
)  # fmt: skip
def test_nothing_but_arithmetic(text):
    with pytest.raises((ArgumentError, UnknownNameError)):
        Formula(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1 / 0", "'1 / 0' cannot be computed for 'fc.weight': float division by zero"),
        ("9 ** 9 ** 9", "'9 ** 9 ** 9' cannot be computed for 'fc.weight'"),
        ("sqrt(-1)", "'sqrt(-1)' cannot be computed for 'fc.weight'"),
        ("(-1) ** 0.5", "'(-1) ** 0.5' is"),
        ("1e308 * 10", "'1e308 * 10' is inf for 'fc.weight', which is no finite real number"),
    ],
)
def test_results_that_are_no_number(text, said):
    with pytest.raises(ArgumentError) as caught:
        Formula(text)(tensor())
    assert str(caught.value).startswith(said)


def test_long_and_deep_formulas_are_refused():
    with pytest.raises(ArgumentError, match="a formula of 201 characters is too long; the limit is 200"):
        Formula("1" * 201)
    assert Formula("-" * 198 + "1")(tensor()) == 1.0


def test_the_documents_tell_all_quantities_and_a_recipe_that_can_be_read():
    from pathlib import Path

    from fanin.recipes.quantities import QUANTITIES

    page = (Path(__file__).parents[2] / "docs" / "own-recipes.md").read_text(encoding="utf-8")
    assert [name for name in QUANTITIES if f"`{name}`" not in page] == []
    written = page.split("```toml\n")[1].split("```")[0]
    assert len(written.splitlines()) <= 10
    assert len(Recipe.from_toml(written).rules) == 5
