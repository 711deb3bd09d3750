"""`fanin models`: what can be named as MODEL."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem

import fanin
from fanin.cli import options
from fanin.cli.printing import json_option, show
from fanin.cli.verb import verb


def _families(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in options.FAMILIES if name.startswith(incomplete)]


@verb
@click.argument("family", required=False, shell_complete=_families)
@json_option
def command(family: str | None, as_json: bool) -> None:
    """List the built-in models; with FAMILY, show its options, as resnet or resnet18."""
    from fanin.report.models import families_data, families_report, family_data, family_report

    known, shorthands = fanin.models.FAMILIES, fanin.models.SHORTHANDS
    if family is None:
        every = list(known.values())
        show(as_json, lambda: families_data(every), lambda width: families_report(every, width))
        return
    name = shorthands[family][0] if family in shorthands else family
    if name not in known:
        raise fanin.UnknownNameError.among("family of models", family, (*known, *shorthands))
    found = known[name]
    show(as_json, lambda: family_data(found), lambda _: family_report(found))
