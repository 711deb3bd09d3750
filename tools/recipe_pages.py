"""The pages of the recipes: rules, options, sources and reference numbers, from the code and from references.toml.

./dev docs pages                             # all pages: the reference models are planned, which takes a minute
python tools/recipe_pages.py he gpt2      # these and the index
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import fanin
from fanin.plans.markdown import markdown_table
from fanin.plans.words import law
from fanin.recipes import Option, Recipe, Rule
from fanin.report.recipes import rules_silent, rules_told

FOLDER = Path(__file__).parents[1] / "docs" / "recipes"
QUANTITIES = ("std", "mean", "low", "high", "value", "law")
MADE = "<!-- Made by tools/recipe_pages.py from the code and references.toml: change those. -->"

Reference = dict[str, Any]
Planned = Callable[[Reference], str]


def references() -> list[Reference]:
    """All reference numbers."""
    return tomllib.loads((FOLDER / "references.toml").read_text(encoding="utf-8"))["reference"]


def references_of(name: str) -> list[Reference]:
    """Those of one recipe, its options included."""
    return [each for each in references() if each["recipe"].split(",")[0] == name]


@cache
def captured(model: str) -> fanin.Captured:
    return fanin.capture(fanin.models.factory(model))


@cache
def plan(model: str, recipe: str) -> fanin.Plan:
    return fanin.plan(captured(model), recipe)


def planned(reference: Reference) -> str:
    """What the plan of today says where the reference has a number."""
    step = plan(reference["model"], reference["recipe"])[reference["tensor"]]
    if step.initializer is None:
        return "not drawn"
    words = law(step.initializer, step.shape)
    return f"{words}, std {step.std:.9g}" if step.std else words


def index() -> str:
    """The page that lists all recipes."""
    rows = [
        {"recipe": f"[{name}]({name}.md)", "draws": recipe.title, "source": recipe.source}
        for name, recipe in ((name, fanin.recipes.named(name)) for name in fanin.recipes.names())
    ]
    text = (
        "A recipe is an ordered table of rules; the first that is for a tensor decides how it starts. `fanin recipes "
        "NAME` prints the same in a terminal, `fanin plan MODEL --recipe NAME --against native` shows what a recipe "
        "changes in a model, and [Plans](../plans.md) tells how to write one of your own. Reference numbers of all "
        "recipes stand in [references.toml](references.toml); the tests plan each and compare."
    )
    return f"{MADE}\n\n# Recipes\n\n{text}\n\n{markdown_table(rows)}\n"


def page(name: str, told: Planned = planned) -> str:
    """The page of one recipe."""
    recipe, options = fanin.recipes.named(name), fanin.recipes.options(name)
    parts = [MADE, f"# {name}", f"{recipe.title[:1].upper()}{recipe.title[1:]}.", *_head(recipe, options)]
    parts += [*_rules(recipe), *_numbers(name, told), *_use(name)]
    return "\n\n".join(parts) + "\n"


def _head(recipe: Recipe, options: tuple[Option, ...]) -> Iterator[str]:
    yield f"Source: {recipe.source}. Version {recipe.version}."
    if options:
        yield "## Options"
        yield markdown_table([_option(each) for each in options])


def _option(option: Option) -> dict[str, str]:
    default = str(option.default).lower() if isinstance(option.default, bool) else f"{option.default}"
    choices = f" ({', '.join(option.choices)})" if option.choices else ""
    return {"option": f"`{option.name}`", "default": default, "meaning": f"{option.meaning}{choices}"}


def _rules(recipe: Recipe) -> Iterator[str]:
    if not recipe.rules:
        return
    yield "## Rules"
    yield (
        "In the order in which they are tried, with what they do to examples: a transformer of 12 layers, width 768 "
        "and 12 heads (… from its first to its last layer), a residual network of 8 blocks, a dense layer before a "
        "ReLU, recurrent cells of width 128. What no rule is for starts as the model's own code says."
    )
    rows = [
        {"rule": str(each.rule), "is for": each.labels, "draws": each.initializer, "std": each.std, "as in": each.shape}
        | {"why": each.why, "source": _own_source(recipe, recipe.rules[each.rule - 1])}
        for each in rules_told(recipe)
    ]
    silent = [
        {"rule": str(number), "is for": "none of the examples", "draws": "", "std": "", "as in": ""}
        | {"why": _why(rule), "source": _own_source(recipe, rule)}
        for number, rule in rules_silent(recipe)
    ]
    yield markdown_table(sorted([*rows, *silent], key=lambda row: int(row["rule"])))


def _why(rule: Rule) -> str:
    return rule.why if isinstance(rule.why, str) else "its reason depends on the tensor"


def _own_source(recipe: Recipe, rule: Rule) -> str:
    return "" if rule.source == recipe.source else rule.source


def _numbers(name: str, told: Planned) -> Iterator[str]:
    entries = references_of(name)
    if not entries:
        return
    yield "## Reference numbers"
    yield (
        "What the source's formula gives, worked out by hand, beside what the plan says; the tests compare them to "
        "one part in a million."
    )
    yield markdown_table([number_row(name, entry) | {"plan": told(entry)} for entry in entries])
    yield "Sources of the numbers:"
    yield "\n".join(f"- {each}" for each in _by_source(entries))


def number_row(name: str, entry: Reference) -> dict[str, str]:
    """A reference number in words."""
    option = entry["recipe"].removeprefix(name).removeprefix(",")
    expected = ", ".join(f"{key} {entry[key]}" for key in QUANTITIES if key in entry)
    part = f" ({entry['part']})" if "part" in entry else ""
    row = {"tensor": f"`{entry['tensor']}`{part}", "option": option, "formula": entry["formula"]}
    return row | {"expected": expected}


def _by_source(entries: list[Reference]) -> list[str]:
    return list(dict.fromkeys(f"{entry['source']}; planned on `{entry['model']}`" for entry in entries))


def _use(name: str) -> Iterator[str]:
    model = next((entry["model"] for entry in references_of(name)), "hf:gpt2")
    model = model.split(",")[0] if model.startswith("hf:") else model
    yield "## Use"
    against = "" if name == "native" else " --against native"
    yield f"```sh\nfanin plan {model} --recipe {name}{against}\n```"
    yield f'```py\nfanin.initialize(model, recipe="{name}", seed=0)\n```'


def main(names: list[str]) -> None:
    for name in names or fanin.recipes.names():
        (FOLDER / f"{name}.md").write_text(page(name), encoding="utf-8")
    (FOLDER / "index.md").write_text(index(), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
