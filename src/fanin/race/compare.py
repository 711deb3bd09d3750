"""Train the same model from several starts on the same data, in the same order."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from math import isfinite
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import nn

import fanin.models
from fanin.errors import ArgumentError
from fanin.race.command import command
from fanin.race.course import Course, course
from fanin.race.engines import Method
from fanin.race.fitting import check_device, check_fit
from fanin.race.moment import Moment, Watch
from fanin.race.result import RaceResult
from fanin.race.settings import Settings
from fanin.race.starts import Ground, Start, starts
from fanin.race.targets import check_target
from fanin.race.under_way import UnderWay
from fanin.recipes import Recipe

Racer = str | Recipe | Start | Callable[..., Any]


def compare(
    model_factory: Callable[[], nn.Module] | str,
    data: Any,
    recipes: Sequence[Racer] | Mapping[str, Racer],
    seeds: int | Iterable[int] = 8,
    *,
    settings: Settings | None = None,
    name: str = "",
    budget: float | None = None,
    pilots: int = 2,
    engine: str = "auto",
    device: str = "cpu",
    store: str | Path | None = None,
    progress: Watch | None = None,
) -> RaceResult:
    """Race ways to start: the same model and data, the same order of samples, several seeds; what differs is measured.

    For each start and seed a fresh model gets its first values and is trained. A seed decides the values (through
    their streams) and the order of samples, which is the same for all starts. Unless `settings` gives a learning rate,
    each start gets its own, chosen by pilot runs with other seeds on a part of the training samples, judged on the
    rest of them (`fanin.race.rates`); the test samples decide nothing. A run whose loss is no longer finite stops.

    On a CPU results repeat bit for bit with the same engine, whatever runs beside them, and agree between engines as
    far as float sums do. The global random state is restored.

    Args:
        model_factory: builds the model, or its name as `fanin.models.factory` takes it, of which sizes that are not
            given are those of the data. Outputs [n, classes], [n, T, vocabulary], or the shape of the targets.
        data: a `Dataset`, its name as `fanin.data.load` takes it, or ((inputs, targets), (test inputs, test targets)).
        recipes: recipes or their names, "lsuv", or functions (model, seed, inputs) that give a model its values in
            place; a mapping gives them names of your own.
        seeds: how many (0, 1, …), or which.
        settings: numbers of the training; `Settings()` where None.
        name: of the model, for the result; the given name or the model's class where empty.
        budget: seconds that all of it may take, from which the steps of a run are chosen by a probe of the speed, in
            place of those of `settings`.
        pilots: pilot runs for each learning rate.
        engine: "auto" takes what a short probe finds fastest here; "stacked", "threads", "processes" or "sequential",
            with options as `fanin.race.engines.Method` has them. The result says which.
        device: where to train, as torch names it ("cuda:1").
        store: a folder (or a .json file) where finished runs are kept; the same call with it goes on from there.
        progress: called with a `Moment` again and again.

    Raises:
        ArgumentError: no start, two of one name, no seed, a seed twice, a budget too small for one step, a device that
            is not there or holds no values, a target that no score can reach.
        DataError: data that cannot be trained on, a model that does not fit it or the batch size, a store of another
            race.
        UnknownNameError: no recipe, model, data set or engine of that name.
        MissingExtraError: the data set's package is not installed.
        RaceInterrupted: Ctrl-C; has the result of what was finished.

    >>> from torch import eye
    >>> inputs, labels = eye(4), eye(4).argmax(1)  # four samples, each of a class of its own
    >>> data = (inputs, labels), (inputs, labels)
    >>> result = compare(lambda: nn.Linear(4, 4), data, ["he", "lecun"], seeds=3, settings=Settings(steps=60))
    >>> {row.start: row.score for row in result.standings}
    {'he': 1.0, 'lecun': 1.0}
    """
    begun = perf_counter()
    if engine != "auto":
        Method.parse(engine)
    watch = progress or _unwatched
    racers, numbers, chosen = starts(recipes), _seeds(seeds), settings or Settings()
    if pilots < 1:
        raise ArgumentError(f"pilots must be at least 1, got {pilots}")
    if budget is not None and not (budget > 0 and isfinite(budget)):
        raise ArgumentError(f"budget must be positive seconds, got {budget}")
    check_device(device)
    watch(Moment("data", 0.0))
    track = course(data, lambda done, total: watch(Moment("data", done / total if total else 0.0)))
    check_target(chosen.target, track.objective)
    called, factory = _model(model_factory, track, name)
    with torch.random.fork_rng():
        kind = check_fit(factory, track, called or "the model", chosen.batch_size)
        ground, seeds_of_pilots = Ground(factory, track), _others(numbers, pilots)
        race = UnderWay(called or kind, racers, ground, numbers, seeds_of_pilots, chosen, engine, device, watch, budget)
        done = race.run(store, begun)
    return replace(done, command=command(model_factory, data, recipes, numbers, done.settings, device))


def _seeds(seeds: int | Iterable[int]) -> tuple[int, ...]:
    try:
        numbers = tuple(range(seeds)) if isinstance(seeds, int) else tuple(map(operator.index, seeds))
    except TypeError as error:
        raise ArgumentError(f"seeds are a whole number of them, or whole numbers: {error}") from error
    if not numbers:
        raise ArgumentError(f"a race needs at least one seed, got {seeds!r}")
    if len(set(numbers)) != len(numbers) or min(numbers) < 0:
        raise ArgumentError(f"seeds are different whole numbers from 0, got {list(numbers)}")
    return numbers


def _others(seeds: Sequence[int], count: int) -> tuple[int, ...]:
    """Seeds of pilots: not among those of the race."""
    return tuple(seed for seed in range(2**32, 2**32 + count + len(seeds)) if seed not in seeds)[:count]


def _model(model: Callable[[], nn.Module] | str, track: Course, name: str) -> tuple[str, Callable[[], nn.Module]]:
    if isinstance(model, str):
        return name or model, fanin.models.factory(model, sizes=track.sizes)
    if not callable(model) or isinstance(model, nn.Module):
        raise ArgumentError(f"the model is its name or a function that builds it, got {type(model).__name__}")
    return name, model


def _unwatched(moment: Moment) -> None:
    """Progress that nobody watches."""
