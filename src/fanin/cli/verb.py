"""What every verb shares: how it fails."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

import click

import fanin

FINDINGS, BAD_INPUT, INTERRUPTED = 1, 2, 130


class BadInput(click.ClickException):
    """The user's input cannot be used; one sentence says why."""

    exit_code = BAD_INPUT


class Verb(click.Command):
    """A verb: its function returns an exit code, and a `FaninError` becomes one sentence on stderr and exit code 2."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except fanin.FaninError as error:
            if ctx.meta.get(_DEBUG):
                traceback.print_exc()
            raise BadInput(" ".join(str(error).split())) from error


_DEBUG = "fanin.cli.debug"


def verb(function: Callable[..., int | None]) -> click.Command:
    """A function as a verb, with the options `--debug` and `--help`."""
    settings = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
    debug = click.option(
        "--debug", is_flag=True, expose_value=False, callback=_remember, help="Show the traceback of an error."
    )
    return click.command(cls=Verb, context_settings=settings)(debug(function))


def _remember(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    ctx.meta[_DEBUG] = value
