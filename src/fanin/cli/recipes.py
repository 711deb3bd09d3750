"""`fanin recipes`: what can be asked for with `--recipe`."""

from __future__ import annotations

import click

import fanin
from fanin.cli.printing import json_option, show
from fanin.cli.verb import verb


@verb
@click.argument("name", required=False)
@json_option
def command(name: str | None, as_json: bool) -> None:
    """List the recipes; with NAME, show its rules in the order in which they are tried."""
    from fanin.report.recipes import recipe_data, recipe_report, recipes_report

    if name is None:
        known = [fanin.recipes.named(each) for each in fanin.recipes.names()]
        show(as_json, lambda: [recipe_data(each) for each in known], lambda width: recipes_report(known, width))
    else:
        recipe = fanin.recipes.named(name)
        show(as_json, lambda: recipe_data(recipe), lambda width: recipe_report(recipe, width))
