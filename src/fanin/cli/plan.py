"""`fanin plan`: where every value comes from, and why."""

from __future__ import annotations

from pathlib import Path

import click

import fanin
from fanin.cli import options
from fanin.cli.building import captured, example
from fanin.cli.printing import json_option, progress, show, write_text
from fanin.cli.verb import FINDINGS, verb


@verb
@options.model
@options.recipe()
@click.option("--against", metavar="NAME", help="Show only what differs from this recipe.")
@options.input_shape
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Also write the plan to this file, as JSON.")
@json_option
def command(
    model: str, recipe: str, against: str | None, sample: tuple[int, ...] | None, output: Path | None, as_json: bool
) -> int:
    """Plan MODEL: one row for every parameter and buffer. Nothing is allocated and nothing drawn.

    Exit code 1 if nobody could say where some tensor comes from.
    """
    from fanin.report.plans import difference_data, difference_report, plan_report

    with progress(f"Planning {model}"):
        made = captured(model)
        inputs = example(model, sample)
        plan = fanin.plan(made, recipe=recipe, inputs=inputs)
        other = None if against is None else fanin.plan(made, recipe=against, inputs=inputs)
    if output is not None:
        write_text(output, plan.to_json() + "\n")
    if other is None:
        show(as_json, plan.to_dict, lambda width: plan_report(plan, width, model))
    else:
        show(as_json, lambda: difference_data(other, plan), lambda width: difference_report(other, plan, width, model))
    return FINDINGS if plan.unknown else 0
