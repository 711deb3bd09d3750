"""`fanin compare`: which start is best for this model and this data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

import fanin
from fanin.cli import options
from fanin.cli.printing import json_option, show, tell
from fanin.cli.race_files import RaceFiles, race_files
from fanin.cli.race_progress import race_progress
from fanin.cli.verb import INTERRUPTED, BadInput, verb

QUICK = {"steps": 20, "seeds": 2}


def _recipes(ctx: click.Context, param: click.Parameter, value: str) -> tuple[str, ...]:
    """Names joined by commas; what has an '=' is an option of the name before it."""
    names: list[str] = []
    for word in map(str.strip, value.split(",")):
        if "=" in word and names:
            names[-1] += f",{word}"
        else:
            names.append(word)
    if not all(names):
        raise click.BadParameter(f"{value!r} is not names of recipes joined by commas, as auto,he,native")
    return tuple(names)


def _rates(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[float, ...]:
    try:
        return () if value is None else tuple(map(float, value.split(",")))
    except ValueError:
        raise click.BadParameter(f"{value!r} is not numbers joined by commas, as 0.01,0.03,0.1") from None


def _seconds(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    if value is None:
        return None
    unit = {"s": 1, "m": 60, "h": 3600}.get(value[-1:], 0)
    try:
        return float(value[:-1]) * unit if unit else float(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a time, as 60s, 5m or 1h") from None


def _choices(of: Callable[[], Any]) -> Callable[..., list[str]]:
    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        return [f"{before}{comma}{name}" for name in of() if name.startswith(last)]

    return complete


@verb
@options.model
@click.option(
    "-d",
    "--data",
    required=True,
    metavar="NAME",
    help="A data set, as mnist or fashion-mnist,train=5000; `fanin data` lists them.",
    shell_complete=_choices(lambda: fanin.data.names()),
)
@click.option(
    "-r",
    "--recipes",
    default="auto,native",
    show_default=True,
    metavar="A,B,…",
    callback=_recipes,
    help="What races: recipes, or lsuv.",
    shell_complete=_choices(lambda: (*fanin.recipes.names(), "lsuv")),
)
@click.option("--seeds", type=click.IntRange(1), default=8, show_default=True, metavar="N", help="Runs of each start.")
@click.option(
    "--budget",
    callback=_seconds,
    metavar="TIME",
    help="Take about so long in all, as 60s or 5m: the steps of a run are chosen to fit.",
)
@click.option("--steps", type=click.IntRange(1), metavar="N", help="Optimizer steps of a run; by default 200.")
@options.batch(64)
@click.option(
    "--optimizer", default="sgd", show_default=True, metavar="NAME", help="sgd (momentum 0.9), adam or adamw."
)
@click.option("--rate", type=float, metavar="X", help="One learning rate for all, in place of a choice for each.")
@click.option("--rates", callback=_rates, metavar="X,X,…", help="Learning rates to choose from for each start.")
@click.option("--clip", type=float, metavar="X", help="Greatest norm of a step's gradient.")
@click.option("--target", type=float, metavar="X", help="Score to reach: accuracy from 0 to 1, or RMSE.")
@click.option(
    "--engine",
    default="auto",
    show_default=True,
    metavar="NAME",
    help="How runs are trained: stacked, threads, processes or sequential; auto takes the fastest here.",
)
@click.option("--device", default="cpu", show_default=True, metavar="NAME", help="Where to train, as cuda or cuda:1.")
@click.option(
    "--resume",
    "store",
    type=click.Path(path_type=Path),
    metavar="PLACE",
    help="Keep finished runs in this folder (or .json file), and go on from those that are there.",
)
@click.option("--quick", is_flag=True, help="Everything small: to see that it runs, not what it shows.")
@race_files
@json_option
def command(
    model: str,
    data: str,
    recipes: tuple[str, ...],
    seeds: int,
    budget: float | None,
    steps: int | None,
    batch: int,
    optimizer: str,
    rate: float | None,
    rates: tuple[float, ...],
    clip: float | None,
    target: float | None,
    engine: str,
    device: str,
    store: Path | None,
    quick: bool,
    files: RaceFiles,
    as_json: bool,
) -> int:
    """Train MODEL on real data from several starts and seeds, and say which start is best.

    Each start gets a learning rate of its own, chosen on held-out training samples; all starts of a seed see the same
    samples in the same order; differences are tested seed by seed. Ctrl-C keeps what was finished.
    """
    from fanin.report.races import race_report

    if budget is not None and steps is not None:
        raise BadInput("--budget chooses the steps of a run: give it or --steps")
    numbers: dict[str, Any] = {"optimizer": optimizer, "learning_rate": rate, "rates": rates, "clip": clip}
    settings = fanin.race.Settings(batch_size=batch, target=target, **numbers)
    if budget is None:
        settings = settings.lasting(steps or (QUICK["steps"] if quick else settings.steps))
    files.check(store)
    stopped = None
    try:
        with race_progress() as watch:
            result = fanin.compare(
                model,
                data,
                recipes,
                min(seeds, QUICK["seeds"]) if quick else seeds,
                settings=settings,
                budget=budget,
                pilots=1 if quick else 2,
                engine=engine,
                device=device,
                store=store,
                progress=watch,
            )
    except fanin.RaceInterrupted as interrupted:
        stopped, result = interrupted, interrupted.result
    try:
        if result is not None:
            show(as_json, result.to_dict, lambda width: race_report(result, width))
        if stopped is not None:
            more = f"--resume {store} goes on from there" if store else "with --resume PLACE they would be kept"
            tell(f"Interrupted: {stopped.done} of {stopped.total} runs are finished; {more}.", always=True)
    finally:  # neither a closed pipe nor a full disk takes the other's result away
        if result is not None:
            files.write(result)
    return 0 if stopped is None else INTERRUPTED
