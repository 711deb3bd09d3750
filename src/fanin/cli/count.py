"""`fanin count`: what a model costs."""

from __future__ import annotations

import click

import fanin
from fanin.cli import options
from fanin.cli.building import captured, example
from fanin.cli.printing import json_option, progress, show
from fanin.cli.verb import verb


@verb
@options.model
@options.batch(1)
@options.input_shape
@click.option("--samples", type=click.IntRange(1), metavar="N", help="Training samples, for parameters per sample.")
@json_option
def command(model: str, batch: int, sample: tuple[int, ...] | None, samples: int | None, as_json: bool) -> None:
    """Count the parameters of MODEL (tied ones once), the bytes of a training step, and operations.

    Operations are those of one forward pass: 1 MAC is 2 FLOPs.
    """
    from fanin.report.counts import count_report

    with progress(f"Counting {model}"):
        counted = fanin.count(captured(model), example(model, sample), batch, samples=samples)
    show(as_json, counted.to_dict, lambda width: count_report(counted, width, model))
