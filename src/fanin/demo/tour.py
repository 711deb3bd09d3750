"""The parts of the demo, in order, for one network after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.text import Text

import fanin
from fanin.data import Dataset
from fanin.demo.digits import digit_batch
from fanin.demo.drawn import Drawn, draw
from fanin.demo.part import Narrator, Part
from fanin.demo.tables import drawn_report, written_report
from fanin.demo.written import WrittenFile, write
from fanin.plans import Plan
from fanin.race import RaceResult, Settings
from fanin.report.checks import check_report
from fanin.report.counts import count_report
from fanin.report.curves import plot_curves, save_curves
from fanin.report.layout import stack
from fanin.report.plans import plan_report
from fanin.report.races import race_report
from fanin.report.text import plural

RECIPE = "he"
WIDEST_PLOT = 100
RATE, TARGET = 0.05, 0.9
RACERS = ("native", "ggml-mnist", "xavier", "he", "orthogonal")


@dataclass(frozen=True, slots=True)
class Scale:
    """How large the demo is: samples of a batch, steps of a run, number of seeds."""

    batch: int = 500
    steps: int = 220
    seeds: int = 5


FULL, QUICK = Scale(), Scale(batch=50, steps=20, seeds=1)


def tour(
    models: Sequence[str], digits: Dataset, folder: Path, scale: Scale, seed: int, narrator: Narrator
) -> list[Path]:
    """Take each network the whole way; returns the files that this leaves in `folder`."""
    files: list[Path] = []
    races: list[RaceResult] = []
    for model in models:
        narrator.chapter(model)
        made = fanin.capture(fanin.models.factory(model))
        narrator.tell(_count(model, made, digits, scale))
        plan = narrator.tell(_plan(model, made))
        drawn = narrator.tell(_draw(model, made, plan, seed))
        narrator.tell(_check(model, drawn.model, digits, scale))
        files += [file.path for file in narrator.tell(_write(model, drawn, plan, folder))]
        races.append(narrator.tell(_race(model, digits, scale, narrator.colour)))
    return [*files, save_curves(races, folder / "race.png")]


def _count(model: str, made: Any, digits: Dataset, scale: Scale) -> Part[Any]:
    return Part(
        "count",
        "What it costs",
        f"All that must be stored, and what a training step of {scale.batch} digits takes.",
        lambda _: fanin.count(made, example(model), scale.batch, samples=len(digits.train)),
        lambda count: count.to_dict(),
        lambda count, width: count_report(count, width, model),
    )


def example(model: str) -> Any:
    """One sample in the form that the model takes."""
    return fanin.models.example_inputs(model)


def _plan(model: str, made: Any) -> Part[Plan]:
    return Part(
        "plan",
        "Where every number comes from",
        "Decided before anything is drawn, from the operation that uses each tensor.",
        lambda _: fanin.plan(made, RECIPE, example(model)),
        lambda plan: plan.to_dict(),
        lambda plan, width: plan_report(plan, width, model),
    )


def _draw(model: str, made: Any, plan: Plan, seed: int) -> Part[Drawn]:
    return Part(
        "draw",
        "Drawn",
        f"Seed {seed} gives the same bits on any machine, and what is drawn has the spread that was promised.",
        lambda _: draw(made.model, plan, seed),
        lambda drawn: asdict(replace(drawn, model=model)),
        drawn_report,
    )


def _check(model: str, drawn: Any, digits: Dataset, scale: Scale) -> Part[Any]:
    images, loss = digit_batch(digits.train, scale.batch)
    return Part(
        "check",
        "Does the signal survive",
        "Real digits run forward and their loss backward; each layer stands beside what theory expects.",
        lambda _: fanin.check(drawn, images, loss),
        lambda report: report.to_dict(),
        lambda report, width: check_report(report, width, model),
    )


def _write(model: str, drawn: Drawn, plan: Plan, folder: Path) -> Part[tuple[WrittenFile, ...]]:
    return Part(
        "write",
        "Written and read back",
        "Both files hold seed, recipe and plan hash; the GGUF is the one that ggml's own mnist-eval reads.",
        lambda _: write(drawn.model, plan, drawn.seed, folder, model),
        lambda files: [asdict(file) | {"path": str(file.path)} for file in files],
        written_report,
    )


def _race(model: str, digits: Dataset, scale: Scale, colour: bool) -> Part[RaceResult]:
    return Part(
        "race",
        "What the start does to training",
        f"The same network, digits and order from {plural(scale.seeds, 'seed')}; only the first values differ.",
        lambda progress: fanin.compare(
            fanin.models.factory(model),
            digits,
            RACERS,
            scale.seeds,
            settings=Settings(steps=scale.steps, learning_rate=RATE, target=TARGET),
            name=model,
            progress=lambda moment: progress(moment.done, 1.0),
        ),
        lambda race: race.to_dict(),
        lambda race, width: stack(race_report(race, width), "", _curves(race, width, colour)),
    )


def _curves(race: RaceResult, width: int, colour: bool) -> Text:
    return Text.from_ansi(plot_curves(race, min(width, WIDEST_PLOT), colour=colour), no_wrap=True)
