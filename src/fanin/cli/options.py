"""Arguments and options that several verbs share."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

import fanin

FAMILIES = (
    *("mlp", "cnn", "resnet", "vit", "autoencoder", "dcgan", "siren"),
    *("rnn", "lstm", "gru", "seq2seq", "transformer", "forecaster"),
)
MODELS = (
    *FAMILIES,
    *("mnist-fc", "mnist-cnn"),
    *(f"resnet{depth}" for depth in (18, 34, 50, 101, 152, 20, 32, 44, 56, 110)),
    *("vit-ti", "vit-s", "vit-b"),
    *("gpt2-small", "gpt2-medium", "gpt2-large", "gpt2-xl", "llama2-7b", "llama3-8b"),
    *(f"{name}:" for name in (*FAMILIES, "hf")),
)
"""What completion offers, written out because a shell does not wait for torch; a test compares."""
DTYPES = {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}


def _models(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    known = [CompletionItem(name) for name in MODELS if name.startswith(incomplete)]
    return known or [CompletionItem(incomplete, type="file")]


def _presets(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    # click leaves words aside as long as the option has no value yet.
    named = next((word for word in (ctx.params.get("model") or "", *ctx.args) if word.startswith("hf:")), "")
    known = fanin.models.presets(named.removeprefix("hf:").partition(",")[0]) if named else ()
    return [CompletionItem(name) for name in known if name.startswith(incomplete)]


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


def model(function: Callable[..., Any]) -> Callable[..., Any]:
    """The argument MODEL, and `--preset NAME` for a published size of it; the function gets one spec."""

    @wraps(function)
    def named(*arguments: Any, model: str, preset: str | None, **others: Any) -> Any:
        spec = model if preset is None else fanin.models.with_preset(model, preset)
        return function(*arguments, model=spec, **others)

    text = "A published size of a transformers model: 8b for hf:llama, xl for hf:gpt2."
    size = click.option("--preset", metavar="NAME", help=text, shell_complete=_presets)
    return click.argument("model", shell_complete=_models)(size(named))


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


def file_size(ctx: click.Context, param: click.Parameter, value: str) -> int:
    """Bytes meant by 5GB."""
    from fanin.checkpoints import size_in_bytes

    try:
        return size_in_bytes(value)
    except fanin.ArgumentError as error:
        raise click.BadParameter(str(error)) from None


def rename_rules(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> Any:
    """OLD=NEW each, or a file of rules: what `rename=` of the library takes, None for none."""
    rules: list[Any] = []
    for value in values:
        old, equals, new = value.partition("=")
        if not equals and not Path(value).is_file():
            raise click.BadParameter(f"{value!r} is neither a file of rules nor OLD=NEW")
        rules.append({old: new or None} if equals else Path(value))
    return rules or None


FILE = click.Path(dir_okay=False, path_type=Path)
