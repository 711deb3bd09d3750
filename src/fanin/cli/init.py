"""`fanin init`: weights drawn and written."""

from __future__ import annotations

from pathlib import Path

import click

import fanin
from fanin.cli import options
from fanin.cli.building import captured, example
from fanin.cli.init_file import into_file
from fanin.cli.init_folder import into_folder
from fanin.cli.output import FORMATS, Output
from fanin.cli.printing import json_option
from fanin.cli.verb import BadInput, verb


@verb
@options.model
@options.recipe()
@click.option("--plan", "plan_file", type=options.FILE, help="Draw by this plan, as `fanin plan -o` wrote it.")
@options.seed
@options.dtype
@options.input_shape
@click.option(
    "-o",
    "--output",
    metavar="PATH",
    required=True,
    type=click.Path(),
    help="What to write: a .safetensors or .gguf file, or a folder (out/) for a checkpoint of several files.",
)
@click.option(
    "--format",
    "chosen",
    type=click.Choice(FORMATS),
    help="By default what the name says; a folder is safetensors, or dcp (torch.distributed.checkpoint).",
)
@click.option(
    "--max-shard-size",
    default="5GB",
    show_default=True,
    metavar="SIZE",
    callback=options.file_size,
    help="Values in one file of a folder: 500MB, 5GB, 5GiB.",
)
@click.option("--force", is_flag=True, help="Replace what is there, instead of refusing it or going on with it.")
@json_option
def command(
    model: str,
    recipe: str,
    plan_file: Path | None,
    seed: int,
    dtype: str | None,
    sample: tuple[int, ...] | None,
    output: str,
    chosen: str | None,
    max_shard_size: int,
    force: bool,
    as_json: bool,
) -> None:
    """Draw the weights of MODEL and write them, with seed, recipe and plan hash in each file's metadata.

    The model is never built, so that it may be larger than the memory. A file appears whole or not at all; a folder
    that was interrupted is finished by the same command. torchrun shares the files of a folder out among processes.
    """
    place = Output.of(output, chosen)
    place.check(force)
    made = captured(model)
    plan = fanin.plan(made, recipe, example(model, sample)) if plan_file is None else read_plan(plan_file)
    named = None if dtype is None else options.DTYPES[dtype]
    if place.folder:
        into_folder(place, model, made.model, plan, seed, named, max_shard_size, force, as_json)
    else:
        into_file(place, model, made.model, plan, seed, named, as_json)


def read_plan(path: Path) -> fanin.Plan:
    """The plan that a JSON file holds."""
    try:
        return fanin.Plan.from_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, fanin.PlanError) as error:
        raise BadInput(f"{path} cannot be read as a plan: {getattr(error, 'strerror', None) or error}") from error
