"""Recipes: the list of them, and what one does to each kind of tensor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from fanin.axes import Axes
from fanin.graph import Use
from fanin.recipes import Choice, Recipe, TensorInfo
from fanin.report import text
from fanin.report.laws import law
from fanin.report.layout import Field, grid, heading, stack, widest_fitting

_LINEAR, _CONV, _CONV_T = (128, 256), (64, 32, 3, 3), (32, 64, 4, 4)


def _example(role: str, shape: tuple[int, ...], op: str, axes: Axes | None = None) -> TensorInfo:
    use = Use("example", op, axes, "relu" if axes is not None else "")
    return TensorInfo("example", shape, "float32", "parameter", role, (use,))


# One tensor of each role that recipes speak about, ReLU behind those that multiply.
EXAMPLES = (
    _example("projection", _LINEAR, "linear", Axes.linear(_LINEAR)),
    _example("convolution", _CONV, "conv", Axes.conv(_CONV)),
    _example("transposed convolution", _CONV_T, "conv_transpose", Axes.conv_transpose(_CONV_T, stride=4)),
    _example("bias", (128,), "bias"),
    _example("norm scale", (128,), "norm_scale"),
    _example("norm shift", (128,), "norm_shift"),
    _example("embedding", (1000, 256), "embedding"),
    _example("slope", (1,), "prelu"),
)


def recipes_report(recipes: Sequence[Recipe], width: int) -> RenderableType:
    """One row per recipe: its name, what it does, who says so."""
    name = Field("recipe", [each.name for each in recipes], "green")
    title = Field("draws", [each.title for each in recipes])
    source = Field("source", [each.source for each in recipes], "dim")
    return grid(widest_fitting([[name, title, source], [name, title]], width))


def recipe_report(recipe: Recipe, width: int) -> RenderableType:
    """What the recipe does to an example of each role, with the reason."""
    told = [recipe.choose(example) for example in EXAMPLES]
    base = [
        Field("role", [example.role for example in EXAMPLES]),
        Field("as in", [text.shape(example.shape) for example in EXAMPLES], number=True),
        Field(
            "initializer",
            ["as the model's code" if choice is None else law(choice.initializer) for choice in told],
            "green",
        ),
        Field(
            "std",
            [text.number(_std(choice, example)) for choice, example in zip(told, EXAMPLES, strict=True)],
            number=True,
        ),
    ]
    why = Field("why", ["" if choice is None else choice.why for choice in told], "dim")
    head = heading(f"{recipe.name}, version {recipe.version}: {recipe.title}")
    below = Text(
        f"Weights as before a ReLU. Other tensors start as the model's own code says. Source: {recipe.source}."
    )
    return stack(head, "", grid(widest_fitting([[*base, why]], width)), "", below)


def recipe_data(recipe: Recipe) -> dict[str, Any]:
    """The same as data."""
    head = {"name": recipe.name, "version": recipe.version, "title": recipe.title, "source": recipe.source}
    return head | {"examples": [_choice_data(recipe.choose(example), example) for example in EXAMPLES]}


def _choice_data(choice: Choice | None, example: TensorInfo) -> dict[str, Any]:
    told = None if choice is None else choice.initializer.to_dict() | {"why": choice.why, "source": choice.source}
    return {"role": example.role, "shape": list(example.shape), "initializer": told}


def _std(choice: Choice | None, example: TensorInfo) -> float | None:
    return None if choice is None else choice.initializer.moments(example.shape)[1]
