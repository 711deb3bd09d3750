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
        options = [fanin.recipes.options(each) for each in fanin.recipes.names()]
        pairs = list(zip(known, options, strict=True))
        show(
            as_json, lambda: [recipe_data(*each) for each in pairs], lambda width: recipes_report(known, options, width)
        )
    else:
        recipe = fanin.recipes.named(name)
        chosen = _options(name)
        show(as_json, lambda: recipe_data(recipe, chosen), lambda width: recipe_report(recipe, chosen, width))


def _options(name: str) -> tuple[fanin.recipes.Option, ...]:
    """The options of a single named recipe; none of a file or of several that are joined."""
    first = name.split(",")[0].strip()
    return fanin.recipes.options(first) if "|" not in name and first in fanin.recipes.names() else ()
