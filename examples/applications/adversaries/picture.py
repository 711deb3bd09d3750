"""What `generation` draws."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from matplotlib.figure import Figure
from reporting import COLOURS, draw_runs
from torch import Tensor

from adversaries.training import Trained


def picture(trained: Sequence[Trained], real: Tensor) -> Figure:
    """Distances, losses, and samples beside real images."""
    figure = Figure(figsize=(13, 6.4), layout="constrained")
    (distances, losses, *others), below = figure.subplots(2, 4)
    for each, colour in zip(trained, COLOURS, strict=False):
        label = each.start if each.norm == "batch" else f"{each.start}, no norm"
        draw_runs(distances, each.runs[0].seen, [run.distances for run in each.runs], label, colour)
    distances.set(title="distance to real images", xlabel="step", yscale="log")
    for part, colour in zip(("discriminator", "generator"), COLOURS, strict=False):
        draw_runs(losses, *_thin([smooth(getattr(run, part)) for run in trained[0].runs]), part, colour)
    losses.set(title=f"losses from {trained[0].start}", xlabel="step", ylabel="nats")
    for panel in (distances, losses):
        panel.grid(alpha=0.3)
        panel.legend(fontsize=7)
    shown = {"real": real[:36]} | {f"{each.start}, norm {each.norm}": each.runs[0].samples for each in trained}
    for panel, (title, images) in zip_longest((*others, *below), list(shown.items())[:6], fillvalue=("", None)):
        panel.axis("off")
        panel.set_title(title, fontsize=9)
        if images is not None:
            panel.imshow(_tiles(images), cmap="gray", vmin=-1, vmax=1)
    return figure


def _thin(curves: list[list[float]], every: int = 5) -> tuple[list[int], list[list[float]]]:
    return list(range(0, len(curves[0]), every)), [curve[::every] for curve in curves]


def _tiles(images: Tensor) -> Any:
    """36 images [36, 1, H, W] as 6 rows of 6."""
    side = images.shape[-1]
    return images.reshape(6, 6, side, side).permute(0, 2, 1, 3).reshape(6 * side, 6 * side).numpy()


def smooth(losses: Sequence[float], width: int = 20) -> list[float]:
    """Means over so many steps."""
    return [sum(losses[at : at + width]) / width for at in range(len(losses) - width + 1)]
