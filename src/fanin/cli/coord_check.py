"""`fanin coord-check`: whether layers learn as much at any width."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

import fanin
from fanin.cli import options
from fanin.cli.building import example
from fanin.cli.printing import json_option, progress, show
from fanin.cli.verb import FINDINGS, BadInput, verb

if TYPE_CHECKING:
    from torch import nn

_EXAMPLES = {
    "width": "mlp:784-{width}-{width}-10 or hf:gpt2,n_embd={width}",
    "depth": "hf:gpt2,n_layer={depth},n_embd=64",
}
_HOLE = re.compile(r"\{(?:(\d+)\*)?(width|depth)\}")


def _sizes(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    if value is None:
        return None
    numbers = value.split(",")
    if not all(number.strip().isascii() and number.strip().isdigit() for number in numbers):
        raise click.BadParameter(f"{value!r} is not whole numbers joined by commas, as 64,128,256")
    return tuple(map(int, numbers))


@verb
@click.argument("model")
@click.option("--widths", metavar="N,N,N", callback=_sizes, help="At least three, as 64,128,256,512.")
@click.option("--depths", metavar="N,N,N", callback=_sizes, help="Instead of widths: numbers of blocks.")
@click.option(
    "-p",
    "--parametrization",
    default="mup",
    show_default=True,
    metavar="NAME",
    help="mup, spectral, complete-p, depth-mup, u-mup, or standard for the model as it is.",
)
@click.option("--optimizer", default="adamw", show_default=True, metavar="NAME", help="One of torch.optim.")
@click.option("--lr", default=0.01, show_default=True, type=float, metavar="X", help="Learning rate at the base.")
@click.option("--steps", default=4, show_default=True, type=int, metavar="N", help="Optimizer steps.")
@click.option("--seeds", default=3, show_default=True, type=int, metavar="N", help="Models of each size.")
@click.option("--threshold", default=0.15, show_default=True, type=float, metavar="X", help="Slope that fails.")
@click.option("--zero-readout", is_flag=True, help="Start the readout at zero.")
@options.batch(8)
@options.input_shape
@click.option("--plot", type=options.FILE, help="Draw the changes into this .png, .svg or .pdf.")
@json_option
def command(
    model: str,
    widths: tuple[int, ...] | None,
    depths: tuple[int, ...] | None,
    parametrization: str,
    optimizer: str,
    lr: float,
    steps: int,
    seeds: int,
    threshold: float,
    zero_readout: bool,
    batch: int,
    sample: tuple[int, ...] | None,
    plot: Path | None,
    as_json: bool,
) -> int:
    """Train MODEL a few steps at several widths (or depths) and fit how far each layer's output moves against them.

    MODEL has {width} or {depth} where the size goes, {4*width} for multiples: mlp:784-{width}-{width}-10,
    hf:gpt2,n_embd={width},n_layer=2,n_head=4. Exit code 1 if a slope is at least the threshold.
    """
    along = "depth" if depths is not None else "width"
    build = builder(model, along)
    sizes = depths or widths
    with progress(f"Training {model}"):
        done = fanin.coord_check(
            build,
            widths,
            depths=depths,
            parametrization=parametrization,
            steps=steps,
            optimizer=optimizer,
            lr=lr,
            seeds=seeds,
            threshold=threshold,
            inputs=example(filled(model, along, min(sizes)), sample, batch) if sizes else None,
            options={"zero_readout": True} if zero_readout else None,
        )
        if plot is not None:
            done.plot(plot)
    show(as_json, done.to_dict, lambda width: str(done))
    return 0 if done.passed else FINDINGS


def builder(model: str, along: str) -> Callable[[int], nn.Module]:
    """From a size to the model that `model` names with it.

    Raises:
        BadInput: nothing in `model` says where the size goes.
    """
    holes = {name for _, name in _HOLE.findall(model)}
    if holes != {along}:
        raise BadInput(
            f"{model!r} must say where the {along} goes, and nothing else, as in {_EXAMPLES[along]}; "
            "own code is checked from Python, with fanin.coord_check(build, …)"
        )
    return lambda size: fanin.models.build(filled(model, along, size))


def filled(model: str, along: str, size: int) -> str:
    """The name with a size in it.

    >>> filled("hf:llama,hidden_size={width},intermediate_size={4*width}", "width", 32)
    'hf:llama,hidden_size=32,intermediate_size=128'
    """
    return _HOLE.sub(lambda hole: _number(hole, size), model)


def _number(hole: re.Match[str], size: int) -> str:
    return str(int(hole[1] or 1) * size)
