"""`fanin load`: existing weights into a model, with an account of every tensor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import fanin
from fanin.cli import options
from fanin.cli.building import captured, example
from fanin.cli.output import Output
from fanin.cli.printing import json_option, progress, show
from fanin.cli.verb import BadInput, verb


def _policies(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> Any:
    """One policy for all, or PATTERN=POLICY each."""
    if len(values) == 1 and "=" not in values[0]:
        return values[0]
    pairs = [value.rpartition("=") for value in values]
    if any(not pattern for pattern, _, _ in pairs):
        raise click.BadParameter("several policies are written as PATTERN=POLICY, the last one may be '*=POLICY'")
    return {pattern: policy for pattern, _, policy in pairs}


@verb
@options.model
@click.argument("weights", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", metavar="PATH", type=click.Path(), help="Write the loaded model: a .safetensors or .gguf file."
)
@click.option(
    "--policy",
    multiple=True,
    default=("error",),
    metavar="POLICY",
    callback=_policies,
    help="For tensors of another shape: error, slice, pad, tile, resample, adapt-channels, redraw, keep, skip; or "
    "PATTERN=POLICY, more than once.",
)
@click.option(
    "--rename",
    multiple=True,
    metavar="RULE",
    callback=options.rename_rules,
    help="From names in the file to the model's: OLD=NEW (regular expressions too; OLD= leaves out), or a JSON or TOML "
    "file of them.",
)
@options.recipe()
@options.seed
@options.input_shape
@click.option(
    "--only", multiple=True, metavar="PATTERN", help="Load these tensors of the model; draw all others by the recipe."
)
@click.option("--ignore", multiple=True, metavar="PATTERN", help="Leave these tensors of the file out.")
@click.option("--dtype", type=click.Choice(list(options.DTYPES)), help="Give the model this type, and round to it.")
@click.option("--cast", is_flag=True, help="Round to the model's dtypes where they cannot hold every value.")
@click.option("--strict", is_flag=True, help="Fail if a tensor is missing or has no place in the model.")
@click.option("--allow-nonfinite", is_flag=True, help="Load NaN and infinities as they are.")
@click.option("--dry-run", is_flag=True, help="Check everything and print the ledger; write nothing.")
@click.option("--force", is_flag=True, help="Replace the output where it exists.")
@json_option
def command(
    model: str,
    weights: tuple[Path, ...],
    output: str | None,
    policy: Any,
    rename: Any,
    recipe: str,
    seed: int,
    sample: tuple[int, ...] | None,
    only: tuple[str, ...],
    ignore: tuple[str, ...],
    dtype: str | None,
    cast: bool,
    strict: bool,
    allow_nonfinite: bool,
    dry_run: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Put the WEIGHTS (files or folders; later ones win) into MODEL and print what became of every tensor.

    What the weights lack is drawn by the recipe; what does not fit is an error unless a policy says what to do.
    """
    place = _place(output, force)
    made = captured(model, None if dtype is None else options.DTYPES[dtype])
    with progress(f"Loading {', '.join(map(str, weights))}") as advance:
        ledger = fanin.load(
            made,
            weights,
            policy=policy,
            rename=rename,
            recipe=recipe,
            seed=seed,
            inputs=example(model, sample) if recipe != "native" or sample else None,
            cast=cast or dtype is not None,
            only=only or None,
            ignore=ignore,
            strict=strict,
            nonfinite="allow" if allow_nonfinite else "error",
            dry_run=dry_run,
            progress=advance,
        )
    if place is not None and not dry_run:
        with progress(f"Writing {place.path}"):
            fanin.save(made.model, place.path, ledger.plan, seed)
    show(as_json, ledger.to_dict, lambda width: _table(ledger, width))


def _place(output: str | None, force: bool) -> Output | None:
    """Where the model is to be written, refused before anything is loaded if it cannot be."""
    if output is None:
        return None
    place = Output.of(output, None)
    if place.folder:
        raise BadInput(
            f"{output}: a loaded model is written as one file: give it a name ending in .safetensors or .gguf"
        )
    place.check(force)
    return place


def _table(ledger: fanin.Ledger, width: int) -> Any:
    from rich.text import Text

    return Text(ledger.to_text(width), no_wrap=True, overflow="ignore")
