"""The curves of a race: a PNG by matplotlib, and a plot for the terminal by plotext."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fanin.errors import ArgumentError, MissingExtraError
from fanin.race import RaceResult, Run
from fanin.weights.atomic import atomic_file

Array = NDArray[np.float64]

# Okabe and Ito's colours, which the colour-blind tell apart too, and the nearest of a terminal, with their codes.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_TERMINAL = (
    ("blue+", 94),
    ("red+", 91),
    ("green+", 92),
    ("magenta+", 95),
    ("yellow", 33),
    ("cyan+", 96),
    ("white", 37),
)
_DASHES = ("-", "--", "-.", (0, (1, 1)), (0, (5, 1, 1, 1, 1, 1)), (0, (3, 1)), "-")


def save_curves(results: RaceResult | Sequence[RaceResult], path: str | Path) -> Path:
    """Write the training loss and the test accuracy of one or more races as a PNG, one column per race.

    Lines are medians over the seeds, bands reach from the least to the greatest. The loss is averaged over the steps
    between two looks at the test data.

    Raises:
        MissingExtraError: matplotlib is not installed.
        WeightsError: the file cannot be written.
        ArgumentError: no race.
    """
    races = _races(results)
    figure_class: Any = _needed("matplotlib.figure", "matplotlib", "loss plots as PNG").Figure
    figure = figure_class(figsize=(0.8 + 5.4 * len(races), 6.4), dpi=150, layout="constrained")
    grid = figure.subplots(2, len(races), squeeze=False, sharex="col")
    colours = _assigned(races)
    for column, race in enumerate(races):
        _panel(grid[0][column], race, colours, training_loss, "training loss (nats)")
        _panel(grid[1][column], race, colours, accuracy_on_test, "test accuracy (%)")
        _dressed(grid[0][column], grid[1][column], race)
    handles = {line.get_label(): line for axes in grid[0] for line in axes.get_lines()}
    figure.legend(
        handles.values(), handles.keys(), loc="outside lower center", ncols=min(5, len(handles)), frameon=False
    )
    picture = BytesIO()
    figure.savefig(picture, format="png")
    with atomic_file(path) as file:
        file.write(picture.getvalue())
    return Path(path)


def plot_curves(result: RaceResult, width: int = 80, height: int = 16, *, colour: bool = True) -> str:
    """The median training loss of each recipe, as text for a terminal of `width` columns.

    Without colour each recipe draws with a letter of its own.

    Raises:
        MissingExtraError: plotext is not installed.
    """
    plotext: Any = _needed("plotext", "plotext", "loss plots in the terminal")
    figure = plotext.figure
    figure.clear()
    try:
        figure.theme("colorless")
        figure.plot_size(width, height)
        for place, recipe in enumerate(result.recipes):
            steps, values = training_loss(result, recipe)
            kept = np.isfinite(values).all(axis=0)
            marker = plotext.marker("braille" if colour else _letter(place), _TERMINAL[place % len(_TERMINAL)][0])
            if kept.any():
                median = np.median(values[:, kept], axis=0)
                figure.draw(figure.signal(steps[kept].tolist(), median.tolist(), marker=marker).lines())
        figure.title(f"{result.model}: training loss, median of {len(result.of(result.recipes[0]))} seeds")
        figure.label("step")
        text = str(figure.build().string(colorless=not colour)).rstrip("\n")
    finally:
        figure.clear()
    return f"{text}\n   {'   '.join(_key(place, recipe, colour) for place, recipe in enumerate(result.recipes))}"


def _letter(place: int) -> str:
    return "abcdefghijklmnopqrstuvwxyz"[place % 26]


def _key(place: int, recipe: str, colour: bool) -> str:
    code = _TERMINAL[place % len(_TERMINAL)][1]
    return f"\x1b[{code}m━━\x1b[0m {recipe}" if colour else f"{_letter(place)} {recipe}"


def training_loss(result: RaceResult, recipe: str) -> tuple[Array, Array]:
    """(steps [k], losses [seeds, k]): the loss averaged over each stretch between looks; NaN after a divergence."""
    every = result.settings.evaluate_every
    count = -(-result.settings.steps // every)
    steps = np.minimum(np.arange(1, count + 1) * every, result.settings.steps).astype(np.float64)
    return steps, np.stack([_stretches(run, every, count) for run in result.of(recipe)])


def _stretches(run: Run, every: int, count: int) -> Array:
    losses = np.full(count * every, np.nan)
    losses[: len(run.losses)] = np.where(np.isfinite(run.losses), run.losses, np.nan)
    rows = losses.reshape(count, every)
    present = ~np.isnan(rows)
    total = np.where(present, rows, 0.0).sum(axis=1)
    return np.where(present.any(axis=1), total / np.maximum(1, present.sum(axis=1)), np.nan)


def accuracy_on_test(result: RaceResult, recipe: str) -> tuple[Array, Array]:
    """(steps [k], accuracies [seeds, k] in percent); a run that stopped early keeps its last accuracy."""
    runs = result.of(recipe)
    steps = max((run.seen for run in runs), key=len)
    rows = [run.accuracies + run.accuracies[-1:] * (len(steps) - len(run.seen)) for run in runs]
    return np.array(steps, dtype=np.float64), 100 * np.array(rows)


def _races(results: RaceResult | Sequence[RaceResult]) -> tuple[RaceResult, ...]:
    races = (results,) if isinstance(results, RaceResult) else tuple(results)
    if not races:
        raise ArgumentError("there is no race to plot: give at least one RaceResult")
    return races


def _needed(module: str, package: str, purpose: str) -> Any:
    try:
        return import_module(module)
    except ImportError:
        raise MissingExtraError.of(package, "plots", purpose) from None


def _assigned(races: Sequence[RaceResult]) -> dict[str, int]:
    """A number for each recipe, the same in every panel."""
    return {recipe: place for place, recipe in enumerate(dict.fromkeys(r for race in races for r in race.recipes))}


def _panel(
    axes: Any,
    race: RaceResult,
    places: dict[str, int],
    curve: Callable[[RaceResult, str], tuple[Array, Array]],
    label: str,
) -> None:
    for recipe in race.recipes:
        place = places[recipe]
        steps, values = curve(race, recipe)
        kept = np.isfinite(values).any(axis=0)
        steps, values = steps[kept], values[:, kept]
        colour = _COLOURS[place % len(_COLOURS)]
        dash = _DASHES[place % len(_DASHES)]
        axes.plot(steps, np.nanmedian(values, axis=0), color=colour, linestyle=dash, linewidth=1.8, label=recipe)
        axes.fill_between(
            steps, np.nanmin(values, axis=0), np.nanmax(values, axis=0), color=colour, alpha=0.13, linewidth=0
        )
    axes.set_ylabel(label)
    axes.grid(True, color="0.9", linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)


def _dressed(loss: Any, accuracy: Any, race: RaceResult) -> None:
    settings = race.settings
    seeds = len(race.of(race.recipes[0]))
    numbers = f"{settings.optimizer}, learning rate {settings.rate:g}, batch {settings.batch_size}, {seeds} seeds"
    loss.set_title(f"{race.model}: {numbers}", fontsize=10)
    loss.set_yscale("log")
    formatter: Any = _needed("matplotlib.ticker", "matplotlib", "loss plots as PNG")
    loss.yaxis.set_major_locator(formatter.LogLocator(subs=(1, 2, 5)))
    loss.yaxis.set_major_formatter(formatter.FormatStrFormatter("%g"))
    loss.yaxis.set_minor_formatter(formatter.NullFormatter())
    accuracy.set_xlabel("step")
    accuracy.set_ylim(0, 100)
    accuracy.set_xlim(0, settings.steps)
    accuracy.axhline(100 * settings.target, color="0.35", linewidth=0.8, linestyle=":")
    accuracy.text(settings.steps, 100 * settings.target, f" {settings.target:.0%}", ha="left", va="center", fontsize=8)
