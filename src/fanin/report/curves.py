"""The curves of a race: a PNG by matplotlib, and a plot for the terminal by plotext."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from fanin.errors import ArgumentError, MissingExtraError
from fanin.race import RaceResult
from fanin.race.curves import Array, score_on_test, training_loss
from fanin.race.words import score_text
from fanin.weights.atomic import atomic_file

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
_TITLE = 60  # letters that fit over a panel
_DASHES = ("-", "--", "-.", (0, (1, 1)), (0, (5, 1, 1, 1, 1, 1)), (0, (3, 1)), "-")


def save_curves(results: RaceResult | Sequence[RaceResult], path: str | Path) -> Path:
    """Write the training loss and the test score of one or more races as a PNG, one column per race.

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
        asked = race.objective
        _panel(grid[0][column], race, colours, losses, f"training loss{_unit(asked.loss_unit)}")
        _panel(grid[1][column], race, colours, scores, f"test {asked.score_name}{_unit(percent(race))}")
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
    """The median training loss of each start, as text for a terminal of `width` columns.

    Without colour each start draws with a letter of its own.

    Raises:
        MissingExtraError: plotext is not installed.
    """
    plotext: Any = _needed("plotext", "plotext", "loss plots in the terminal")
    figure = plotext.figure
    figure.clear()
    try:
        figure.theme("colorless")
        figure.plot_size(width, height)
        for place, start in enumerate(result.starts):
            steps, values = losses(result, start)
            kept = np.isfinite(values).all(axis=0)
            marker = plotext.marker("braille" if colour else _letter(place), _TERMINAL[place % len(_TERMINAL)][0])
            if kept.any():
                median = np.median(values[:, kept], axis=0)
                figure.draw(figure.signal(steps[kept].tolist(), median.tolist(), marker=marker).lines())
        figure.title(f"{result.model}: training loss, median of {len(result.of(result.starts[0]))} seeds")
        figure.label("step")
        text = str(figure.build().string(colorless=not colour)).rstrip("\n")
    finally:
        figure.clear()
    return f"{text}\n   {'   '.join(_key(place, start, colour) for place, start in enumerate(result.starts))}"


def _letter(place: int) -> str:
    return "abcdefghijklmnopqrstuvwxyz"[place % 26]


def _key(place: int, start: str, colour: bool) -> str:
    code = _TERMINAL[place % len(_TERMINAL)][1]
    return f"\x1b[{code}m━━\x1b[0m {start}" if colour else f"{_letter(place)} {start}"


def losses(race: RaceResult, start: str) -> tuple[Array, Array]:
    """(steps [k], training losses [seeds, k])."""
    return training_loss(race.of(start), race.settings)


def scores(race: RaceResult, start: str) -> tuple[Array, Array]:
    """(steps [k], test scores [seeds, k], accuracies in percent)."""
    return score_on_test(race.of(start), 100 if percent(race) else 1)


def percent(race: RaceResult) -> str:
    """ "%" where scores are shares, else nothing."""
    return "%" if race.objective.higher_is_better else ""


def _unit(unit: str) -> str:
    return f" ({unit})" if unit else ""


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
    """A number for each start, the same in every panel."""
    return {start: place for place, start in enumerate(dict.fromkeys(name for race in races for name in race.starts))}


def _panel(
    axes: Any,
    race: RaceResult,
    places: dict[str, int],
    curve: Callable[[RaceResult, str], tuple[Array, Array]],
    label: str,
) -> None:
    for start in (row.start for row in race.standings):
        place = places[start]
        steps, values = curve(race, start)
        kept = ~np.isnan(values).all(axis=0)
        steps, values = steps[kept], values[:, kept]
        colour = _COLOURS[place % len(_COLOURS)]
        dash = _DASHES[place % len(_DASHES)]
        axes.plot(steps, np.nanmedian(values, axis=0), color=colour, linestyle=dash, linewidth=1.8, label=start)
        axes.fill_between(
            steps, np.nanmin(values, axis=0), np.nanmax(values, axis=0), color=colour, alpha=0.13, linewidth=0
        )
    axes.set_ylabel(label)
    axes.grid(True, color="0.9", linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)


def _dressed(loss: Any, score: Any, race: RaceResult) -> None:
    settings = race.settings
    seeds = len(race.of(race.standings[0].start))
    numbers = f"{settings.optimizer}, {_rates(race)}, {seeds} seeds"
    gap = "\n" if len(race.model) + len(numbers) > _TITLE else " "
    loss.set_title(f"{race.model}:{gap}{numbers}", fontsize=10)
    loss.set_yscale("log")
    formatter: Any = _needed("matplotlib.ticker", "matplotlib", "loss plots as PNG")
    loss.yaxis.set_major_locator(formatter.LogLocator(subs=(1, 2, 5)))
    loss.yaxis.set_major_formatter(formatter.FormatStrFormatter("%g"))
    loss.yaxis.set_minor_formatter(formatter.NullFormatter())
    score.set_xlabel("step")
    score.set_xlim(0, settings.steps)
    shares = bool(percent(race))
    if shares:
        score.set_ylim(0, 100)
    level = (100 if shares else 1) * race.target
    score.axhline(level, color="0.35", linewidth=0.8, linestyle=":")
    score.text(settings.steps, level, f" {score_text(race.target, race.objective)}", ha="left", va="center", fontsize=8)


def _rates(race: RaceResult) -> str:
    rates = {row.rate for row in race.standings}
    rate = f"learning rate {min(rates):g}" + (f" to {max(rates):g}, chosen for each" if len(rates) > 1 else "")
    return f"{rate}, batch {race.settings.batch_size}"
