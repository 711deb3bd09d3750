"""`fanin draw`: a picture of an architecture."""

from __future__ import annotations

from pathlib import Path

import click

import fanin
from fanin.cli import options
from fanin.cli.building import captured, example
from fanin.cli.printing import progress, tell
from fanin.cli.verb import verb


@verb
@options.model
@click.option(
    "-o",
    "--output",
    type=options.FILE,
    default="net.svg",
    show_default=True,
    help="The picture: .svg, .png, .pdf or .dot.",
)
@click.option(
    "--depth", type=click.IntRange(1), metavar="N", help="Tell layers apart this many names deep: h.0.attn is 3."
)
@click.option("--all", "every", is_flag=True, help="Draw every repeated block, not one for all.")
@options.input_shape
def command(model: str, output: Path, depth: int | None, every: bool, sample: tuple[int, ...] | None) -> None:
    """Draw MODEL: layers, output shapes, roles and numbers of parameters, and what reads what.

    Repeated blocks are drawn once; residual connections are orange. Nothing is allocated.
    """
    with progress(f"Drawing {model}"):
        written = fanin.draw(captured(model), example(model, sample, 2), output, depth=depth, collapse=not every)
    tell(f"{written} is written.")
