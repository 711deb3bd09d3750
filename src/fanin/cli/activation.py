"""`fanin activation`: what an activation does to signals through depth."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import fanin
from fanin.cli.options import FILE
from fanin.cli.printing import json_option, print_json, print_text
from fanin.cli.verb import verb

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_PYTHON = re.compile(r".+:[A-Za-z_]\w*")
_SHOWN = 12
HEAD = ("layer", "q", "c", "gradient")


def _names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    return [CompletionItem(name) for name in fanin.gains.activation_names() if name.startswith(incomplete)]


@verb
@click.argument("name", shell_complete=_names)
@click.option("--parameter", type=float, metavar="X", help="The activation's number: slope, alpha, beta, ω.")
@click.option(
    "--weight-std", type=float, metavar="X", help="σ_w: √fan_in times the weights' std; by default the critical one."
)
@click.option("--bias-std", type=float, metavar="X", help="σ_b: the biases' std.")
@click.option("--depth", type=click.IntRange(1), metavar="N", help="Also follow two inputs through N layers.")
@click.option(
    "--correlation",
    type=click.FloatRange(0, 1),
    default=0.5,
    show_default=True,
    metavar="C",
    help="Of these two inputs.",
)
@click.option("--png", type=FILE, help="Draw the maps of variance and correlation and the critical line.")
@json_option
def command(
    name: str,
    parameter: float | None,
    weight_std: float | None,
    bias_std: float | None,
    depth: int | None,
    correlation: float,
    png: Path | None,
    as_json: bool,
) -> None:
    """Say what deep random networks of an activation do to signals: fixed points, χ, critical weights, depth.

    NAME is an activation (gelu), or an elementwise function of your own: path.py:function or
    package.module:function (torch.nn.functional:gelu, torch.nn:GELU).
    """
    view = fanin.activation(function(name), parameter, weight_std=weight_std, bias_std=bias_std)
    layers = () if depth is None else view.through(depth, correlation)
    if png is not None:
        view.plot(png)
    if as_json:
        print_json({**view.to_dict(), "layers": [asdict(layer) for layer in layers]})
        return
    print_text(str(view))
    if layers:
        print_text("\n" + table(layers))


def function(name: str) -> str | Callable[..., Any]:
    """The name, or the function that it leads to."""
    return fanin.models.python_function(name) if _PYTHON.fullmatch(name) else name


def table(layers: Any) -> str:
    """A line for each of at most a dozen layers.

    >>> import fanin
    >>> print(table(fanin.activation("relu").through(2)))
    layer  q      c  gradient
        1  2    0.5         1
        2  2  0.609         1
    """
    from fanin.text_table import aligned, number

    count = len(layers)
    steps = min(count, _SHOWN) - 1
    shown = sorted({round(step * (count - 1) / steps) for step in range(steps + 1)}) if steps else [0]
    rows = [
        (str(each.number), number(each.variance), number(each.correlation), number(each.gradient))
        for each in (layers[place] for place in shown)
    ]
    return "\n".join(aligned([HEAD, *rows], left=set()))
