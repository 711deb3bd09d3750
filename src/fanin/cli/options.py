"""Arguments and options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

import fanin

MODELS = ("mnist-fc", "mnist-cnn", "mlp:", "cnn:", "hf:")
DTYPES = {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}


def _models(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    known = [CompletionItem(name) for name in MODELS if name.startswith(incomplete)]
    return known or [CompletionItem(incomplete, type="file")]


def _recipes(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in fanin.recipes.names() if name.startswith(incomplete)]


def recipe(default: str = "native") -> Any:
    """`--recipe NAME`."""
    text = "Which rules decide; `fanin recipes` lists them."
    return click.option(
        "-r", "--recipe", default=default, show_default=True, metavar="NAME", help=text, shell_complete=_recipes
    )


def batch(default: int) -> Any:
    """`--batch N`."""
    return click.option(
        "--batch", default=default, show_default=True, type=click.IntRange(1), metavar="N", help="Samples in a batch."
    )


model = click.argument("model", shell_complete=_models)
seed = click.option(
    "--seed",
    default=0,
    show_default=True,
    type=int,
    metavar="N",
    help="From 0 to 2**64 - 1; the same seed gives the same bits anywhere.",
)
dtype = click.option(
    "--dtype",
    type=click.Choice(list(DTYPES)),
    help="Store drawn values in this type; by default in the model's own.",
)


def _sample(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    if value is None:
        return None
    numbers = value.split("x")
    if not all(number.isascii() and number.isdigit() and int(number) for number in numbers):
        raise click.BadParameter(f"{value!r} is not whole numbers joined by x, as 3x224x224")
    return tuple(map(int, numbers))


input_shape = click.option(
    "--input",
    "sample",
    metavar="SHAPE",
    callback=_sample,
    help="Shape of one sample, as 3x224x224, for models whose input cannot be told from their kind.",
)

FILE = click.Path(dir_okay=False, path_type=Path)
