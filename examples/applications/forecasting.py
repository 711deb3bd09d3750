"""Forecasting: an LSTM and a patch transformer on real series against naive forecasts, from several starts."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from reporting import COLOURS, Claim, Row, draw_runs, options, panels, report

import fanin
from fanin.race import RaceResult, Settings

NAME = "forecasting"
MODELS = {
    "LSTM": ("forecaster:kind=lstm,width=32,depth=1", ("native", "auto", "lstm", "chrono")),
    "patch transformer": ("forecaster:kind=patch,width=32,depth=2,patch=12,stride=6", ("native", "auto")),
}


ENOUGH = 0.75  # of the seeds
ENGINE = "threads"  # one for all machines: a probe may choose another, whose sums round otherwise
CLAIMED = ("elnino",)  # the other series is shown, and too short to learn from without overfitting


@dataclass(frozen=True, slots=True)
class Form:
    """What is raced: series as (spec, steps in a season), and the training."""

    series: tuple[tuple[str, int], ...]
    steps: int
    rates: tuple[float, ...]
    starts: int  # the first so many of each model


FULL = Form(
    (("elnino,lookback=36,horizon=12", 12), ("sunspots,lookback=36,horizon=5", 11)), 150, (0.001, 0.003, 0.01, 0.03), 4
)
QUICK = Form((("elnino,lookback=36,horizon=12", 12),), 100, (0.003,), 2)


def main(argv: Sequence[str] | None = None) -> int:
    chosen = options(NAME, __doc__, argv, seeds=8, quick_seeds=3)
    form = QUICK if chosen.quick else FULL
    rows: list[Row] = []
    claims: list[Claim] = []
    races: dict[str, RaceResult] = {}
    numbers: dict[str, Any] = {}
    for spec, season in form.series:
        data = fanin.data.load(spec)
        unit = float(data.scale.std[0])
        naive = {name: unit * rmse(data, each) for name, each in naive_forecasts(data, season).items()}
        rows += [{"series": data.name, "forecast": name, "start": "", "RMSE": each} for name, each in naive.items()]
        numbers[data.name] = {"spec": spec, "naive RMSE": naive, "races": {}}
        for model, (model_spec, starts) in MODELS.items():
            settings = Settings(form.steps, 32, "adam", rates=form.rates, clip=1.0, evaluate_every=form.steps // 10)
            race = fanin.compare(
                model_spec, data, starts[: form.starts], chosen.seeds, settings=settings, pilots=1, engine=ENGINE
            )
            races[f"{model} on {data.name}"] = race
            numbers[data.name]["races"][model] = race.to_dict()
            rows += [_row(data.name, model, race, start, unit) for start in race.starts]
            if data.name in CLAIMED:
                claims += [_beats(data.name, model, race, naive, unit), _harmless(data.name, model, race)]
    return report(NAME, chosen, _picture(races), rows=rows, claims=claims, numbers=numbers)


def naive_forecasts(data: fanin.data.Dataset, season: int) -> dict[str, NDArray[Any]]:
    """Forecasts of the test windows that need no training: as now, as one season before, as in the mean of seasons."""
    seen, horizon, lookback = data.test.inputs, data.sizes["horizon"], data.sizes["lookback"]
    seasons = [
        seen[:, [lookback - season * back + step % season for step in range(horizon)]]
        for back in range(1, lookback // season + 1)
    ]
    return {
        "last value": np.repeat(seen[:, -1:], horizon, axis=1),
        "one season before": seasons[0],
        f"mean of {len(seasons)} seasons": np.mean(seasons, axis=0),
    }


def rmse(data: fanin.data.Dataset, forecast: NDArray[Any]) -> float:
    """Root of the mean squared error over all test windows and steps, as the race scores models."""
    return float(np.sqrt(np.mean((forecast - data.test.targets).astype(np.float64) ** 2)))


def _finals(race: RaceResult, start: str) -> list[float]:
    return [run.final_score for run in race.of(start)]


def _row(series: str, model: str, race: RaceResult, start: str, unit: float) -> Row:
    found = next(row for row in race.standings if row.start == start)
    spread = f"{unit * found.score:.3g} ({unit * found.lowest:.3g}–{unit * found.highest:.3g})"
    return {"series": series, "forecast": model, "start": f"{start}, rate {found.rate:g}", "RMSE": spread}


def _beats(series: str, model: str, race: RaceResult, naive: dict[str, float], unit: float) -> Claim:
    """Three of four seeds, of `native` and of `auto`, are better than what was last, and what was a season before."""
    *simple, mean = naive.values()
    finals = {start: unit * np.array(_finals(race, start)) for start in ("native", "auto")}
    better = {start: int((each < min(simple)).sum()) for start, each in finals.items()}
    told = [
        f"{start}: {better[start]} of {len(each)} seeds below {min(simple):.3g}, {(each < mean).sum()} below {mean:.3g}"
        for start, each in finals.items()
    ]
    return Claim(
        f"{series}: the {model} is better than the last value and one season before, from three of four seeds",
        f"{'; '.join(told)}, the mean of seasons",
        all(better[start] >= ENOUGH * len(each) for start, each in finals.items()),
    )


def _harmless(series: str, model: str, race: RaceResult) -> Claim:
    """`auto` against `native`, by the exact paired test on the final scores."""
    found = next(
        each for each in race.comparisons if each.measure == "score" and {each.better, each.worse} == {"auto", "native"}
    )
    told = f"{found.better} better on {found.wins} of {found.seeds} seeds, p = {found.p:.2g}"
    return Claim(
        f"{series}: `auto` starts the {model} no worse than `native`", told, found.better == "auto" or found.p >= 0.05
    )


def _picture(races: dict[str, RaceResult]) -> Figure:
    figure, axes = panels(len(races))
    for panel, (title, race) in zip(axes, races.items(), strict=True):
        for start, colour in zip(race.starts, COLOURS, strict=False):
            runs = race.of(start)
            draw_runs(panel, runs[0].seen, [run.scores for run in runs], start, colour)
        panel.set(title=title, xlabel="step", ylabel="test RMSE, in std of the series")
        panel.set_ylim(bottom=0)
        panel.legend(fontsize=8)
    return figure


if __name__ == "__main__":
    sys.exit(main())
