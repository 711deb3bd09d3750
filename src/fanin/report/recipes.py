"""Recipes: the list of them, and the rules of one with what they do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from fanin.plans.spans import spanned
from fanin.plans.words import law, std_in_parts
from fanin.recipes import Choice, Option, Recipe, Rule, TensorInfo
from fanin.report import text
from fanin.report.examples import Example, examples
from fanin.report.layout import Field, grid, heading, references, stack, widest_fitting

AUTHORS = "as the model's code"


@dataclass(frozen=True, slots=True)
class Told:
    """What a rule does to examples, in words; `rule` counts from 1 in the order in which rules are tried."""

    rule: int
    initializer: str
    std: str
    why: str
    source: str
    examples: tuple[Example, ...]

    @property
    def labels(self) -> str:
        """What the rule is for."""
        return ", ".join(example.label for example in self.examples)

    @property
    def shape(self) -> str:
        """The examples' shape, where they have the same."""
        shapes = {text.shape(example.tensors[0].shape) for example in self.examples}
        return shapes.pop() if len(shapes) == 1 else ""


def rules_told(recipe: Recipe) -> list[Told]:
    """What the recipe does to the examples that its rules are about, in the order of the rules."""
    told = [each for each in (_told(recipe, example) for example in examples()) if each is not None]
    alike: dict[tuple[object, ...], list[Told]] = {}
    for each in sorted(told, key=lambda each: each.rule):
        alike.setdefault((each.rule, each.initializer, each.std, each.why, each.source), []).append(each)
    return [replace(same[0], examples=tuple(each.examples[0] for each in same)) for same in alike.values()]


def rules_silent(recipe: Recipe) -> list[tuple[int, Rule]]:
    """The rules, counted from 1, that decide about none of the examples."""
    speaking = {each.rule for each in rules_told(recipe)}
    return [(number, rule) for number, rule in enumerate(recipe.rules, 1) if number not in speaking]


def _told(recipe: Recipe, example: Example) -> Told | None:
    numbers = {_number(recipe, tensor) for tensor in example.tensors}
    number = numbers.pop()
    choices = [recipe.choose(tensor) for tensor in example.tensors]
    known = [choice for choice in choices if choice is not None]
    if number is None or not known:
        return None
    laws, stds = zip(*map(_numbers, choices, example.tensors), strict=True)
    why = spanned([choice.why for choice in known])
    return Told(number, _merged(laws), _merged(stds) if all(stds) else "", why, known[0].source, (example,))


def _number(recipe: Recipe, tensor: TensorInfo) -> int | None:
    return next((number for number, rule in enumerate(recipe.rules, 1) if rule.matches(tensor)), None)


def _numbers(choice: Choice | None, tensor: TensorInfo) -> tuple[str, str]:
    if choice is None or choice.initializer is None:
        return AUTHORS, ""
    shape = tensor.shape
    return law(choice.initializer, shape), std_in_parts(choice.initializer, shape)


def _merged(laws: Sequence[str]) -> str:
    return laws[0] if len(set(laws)) == 1 else spanned(laws)


def recipes_report(recipes: Sequence[Recipe], options: Sequence[Sequence[Option]], width: int) -> RenderableType:
    """One row per recipe: its name, what it does, its options, who says so."""
    name = Field("recipe", [each.name for each in recipes], "green")
    title = Field("draws", [each.title for each in recipes])
    chosen = Field("options", [", ".join(f"{each.name}={_shown(each.default)}" for each in some) for some in options])
    source = Field("source", [each.source for each in recipes], "dim")
    return grid(widest_fitting([[name, chosen, title, source], [name, chosen, title]], width))


def recipe_report(recipe: Recipe, options: Sequence[Option], width: int) -> RenderableType:
    """The recipe's rules in order, each with what it does to examples, and the reason."""
    told = rules_told(recipe)
    _, why, reasons = references("why", [each.why for each in told])
    number = Field("rule", [str(each.rule) for each in told], number=True)
    law_in_words = Field("initializer", [each.initializer for each in told], "green")
    std = Field("std", [each.std for each in told], number=True)
    shape = Field("as in", [each.shape for each in told], number=True)
    labels = Field("is for", [each.labels for each in told])
    head = heading(f"{recipe.name}, version {recipe.version}: {recipe.title}")
    table = [grid([number, law_in_words, std, why, shape, labels]), "", reasons, ""] if told else []
    return stack(head, "", *table, *(Text(line) for line in _below(recipe, options)))


def _below(recipe: Recipe, options: Sequence[Option]) -> Iterator[str]:
    yield (
        "Examples: a transformer of 12 layers, width 768 (first … last layer), a residual network of 8 blocks, a dense "
        "layer before a ReLU. What no rule is for starts as the model's own code says."
    )
    for number, rule in rules_silent(recipe):
        yield f"Rule {number} is for none of these: {rule.why if isinstance(rule.why, str) else 'see its source'}."
    for option in options:
        yield f"Option {option.name}={_shown(option.default)}: {option.meaning}{_choices(option)}."
    yield f"Source: {recipe.source}."


def _choices(option: Option) -> str:
    return f" ({', '.join(option.choices)})" if option.choices else ""


def _shown(value: float | str) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def recipe_data(recipe: Recipe, options: Sequence[Option]) -> dict[str, Any]:
    """The same as data."""
    head = {"name": recipe.name, "version": recipe.version, "title": recipe.title, "source": recipe.source}
    told = [
        {
            "rule": each.rule,
            "for": [example.label for example in each.examples],
            "initializer": each.initializer,
            "std": each.std,
        }
        | {"why": each.why, "source": each.source}
        for each in rules_told(recipe)
    ]
    chosen = [{"name": each.name, "default": each.default, "meaning": each.meaning} for each in options]
    return head | {"options": chosen, "rules": told}
