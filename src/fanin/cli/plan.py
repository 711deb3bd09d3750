"""`fanin plan`: where every value comes from, and why."""

from __future__ import annotations

from pathlib import Path

import click

import fanin
from fanin.cli import options
from fanin.cli.building import captured, example
from fanin.cli.printing import json_option, markdown_option, print_text, progress, show, write_text
from fanin.cli.verb import FINDINGS, verb


@verb
@options.model
@options.recipe()
@click.option("--against", metavar="NAME", help="Show only what differs from this recipe.")
@click.option("--explain", metavar="NAME", help="Tell all about this tensor, module or pattern of names.")
@options.input_shape
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Also write the plan to this file, as JSON.")
@click.option("--html", type=options.FILE, help="Also write the plan as one HTML page, with search and filters.")
@click.option("--all", "--no-group", "every", is_flag=True, help="One row for every tensor, repeated layers too.")
@json_option
@markdown_option
def command(
    model: str,
    recipe: str,
    against: str | None,
    explain: str | None,
    sample: tuple[int, ...] | None,
    output: Path | None,
    html: Path | None,
    every: bool,
    as_json: bool,
    as_markdown: bool,
) -> int:
    """Plan MODEL: where the values of every parameter and buffer come from. Nothing is allocated and nothing drawn.

    Repeated layers stand in one row, as layers.0-31.mlp.up_proj.weight. Exit code 1 if nobody could say where some
    tensor comes from.
    """
    from fanin.report.differences import difference_data, difference_report
    from fanin.report.plans import plan_report

    if against is not None and explain is not None:
        raise click.UsageError("--explain tells about one plan: leave --against out")
    with progress(f"Planning {model}"):
        made = captured(model)
        inputs = example(model, sample)
        plan = fanin.plan(made, recipe=recipe, inputs=inputs)
        other = None if against is None else fanin.plan(made, recipe=against, inputs=inputs)
    if output is not None:
        write_text(output, plan.to_json() + "\n")
    if html is not None:
        plan.to_html(html)
    if explain is not None:
        print_text(plan.explain(explain))
    elif as_markdown:
        print_text((plan if other is None else other.diff(plan)).to_markdown(group=not every))
    elif other is None:
        show(as_json, plan.to_dict, lambda width: plan_report(plan, width, model, group=not every))
    else:
        show(
            as_json,
            lambda: difference_data(other, plan),
            lambda width: difference_report(other, plan, width, model, group=not every),
        )
    return FINDINGS if plan.unknown else 0
