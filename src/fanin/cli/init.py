"""`fanin init`: weights drawn and written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import fanin
from fanin.cli import options
from fanin.cli.building import captured, example
from fanin.cli.printing import json_option, progress, show
from fanin.cli.verb import BadInput, verb


@verb
@options.model
@options.recipe()
@click.option("--plan", "plan_file", type=options.FILE, help="Draw by this plan, as `fanin plan -o` wrote it.")
@options.seed
@options.dtype
@options.input_shape
@click.option("-o", "--output", type=options.FILE, required=True, help="What to write: .safetensors or .gguf.")
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
@json_option
def command(
    model: str,
    recipe: str,
    plan_file: Path | None,
    seed: int,
    dtype: str | None,
    sample: tuple[int, ...] | None,
    output: Path,
    force: bool,
    as_json: bool,
) -> None:
    """Draw the weights of MODEL and write them, with seed, recipe and plan hash in the file's metadata.

    The file appears whole or not at all.
    """
    from fanin.report.files import file_data, file_report

    check_output(output, force)
    made = captured(model)
    plan = fanin.plan(made, recipe, example(model, sample)) if plan_file is None else read_plan(plan_file)
    with progress(f"Drawing {model}") as advance:
        drawn = fanin.materialize(made.model, plan, seed=seed, progress=advance)
    with progress(f"Writing {output}"):
        fanin.save(stored_as(drawn, dtype), output, plan, seed)
    written = fanin.open_weights(output).file
    show(as_json, lambda: file_data(written), lambda width: file_report(written, width))


def check_output(path: Path, force: bool) -> None:
    """Refuse before drawing, which may take minutes, what could not be written after it.

    Raises:
        BadInput: the suffix is of no format, the folder is missing, or the file exists and `force` is not given.
    """
    from fanin.torch.files import SUFFIXES

    if path.suffix.lower() not in SUFFIXES:
        raise BadInput(
            f"{path}: weights are written as {' or '.join(SUFFIXES)}, and the suffix {path.suffix!r} is neither"
        )
    if not path.parent.is_dir():
        raise BadInput(f"{path}: cannot be written: there is no folder {str(path.parent.absolute())!r}")
    if path.exists() and not force:
        raise BadInput(f"{path} exists: choose another name, or replace it with --force")


def read_plan(path: Path) -> fanin.Plan:
    """The plan that a JSON file holds."""
    try:
        return fanin.Plan.from_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, fanin.PlanError) as error:
        raise BadInput(f"{path} cannot be read as a plan: {getattr(error, 'strerror', None) or error}") from error


def stored_as(model: Any, dtype: str | None) -> Any:
    """The model in that type; values drawn in float32 are rounded once."""
    if dtype is None:
        return model
    import torch

    return model.to(getattr(torch, options.DTYPES[dtype]))
