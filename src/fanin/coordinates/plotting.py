"""Pictures of a coordinate check."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Any

from fanin.coordinates.slopes import LayerSlopes
from fanin.errors import ArgumentError, MissingExtraError
from fanin.weights.atomic import atomic_file

_SUFFIXES = (".png", ".svg", ".pdf")
_PANELS = 4
_LEGEND = 8


def draw(path: Path, title: str, along: str, sizes: Sequence[int], layers: Sequence[LayerSlopes]) -> None:
    """Change against size, both logarithmic: a panel for a step, a line for a layer.

    Args:
        path: of the picture.
        title: above it.
        along: what the sizes are.
        sizes, layers: as of a check.

    Raises:
        MissingExtraError, ArgumentError, WeightsError: as `CoordinateCheck.plot`.
    """
    if path.suffix not in _SUFFIXES:
        raise ArgumentError(
            f"plots are written as {', '.join(_SUFFIXES)}, not as {path.suffix or 'a file without suffix'}"
        )
    figure_class, colours = _needed("matplotlib.figure").Figure, _needed("matplotlib").colormaps["viridis"]
    ticker = _needed("matplotlib.ticker")
    shown = _steps(len(layers[0].slopes))
    figure = figure_class(figsize=(2.6 * len(shown) + 1.9, 3.2), layout="constrained")
    panels: Any = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    for axes, step in zip(panels, shown, strict=True):
        for number, layer in enumerate(layers):
            values = [each[step] for each in layer.changes]
            known = [(size, value) for size, value in zip(sizes, values, strict=True) if value]
            if known:
                colour = colours(number / max(len(layers) - 1, 1))
                axes.plot(*zip(*known, strict=True), marker="o", markersize=3, color=colour, label=layer.name)
        axes.set(xscale="log", yscale="log", title=f"step {step + 1}", xlabel=along)
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.xaxis.set_minor_formatter(ticker.NullFormatter())
        axes.grid(True, color="0.9", linewidth=0.7)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("mean |change|")
    few = len(layers) <= _LEGEND
    told = "" if few else f"; {len(layers)} layers, the first dark, the last light"
    figure.suptitle(title + told, fontsize=10)
    if few:
        panels[-1].legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    buffer = BytesIO()
    figure.savefig(buffer, format=path.suffix[1:], dpi=90)
    with atomic_file(path) as file:
        file.write(buffer.getvalue())


def _steps(steps: int) -> list[int]:
    """At most four of them, the first and the last among these."""
    if steps <= _PANELS:
        return list(range(steps))
    return [round(number * (steps - 1) / (_PANELS - 1)) for number in range(_PANELS)]


def _needed(module: str) -> Any:
    try:
        return import_module(module)
    except ImportError:
        raise MissingExtraError.of("matplotlib", "plots", "plots of a coordinate check") from None
