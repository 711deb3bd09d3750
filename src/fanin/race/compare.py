"""Train the same model from several recipes on the same data, in the same order."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import astuple
from typing import Any

import torch
from torch import nn

from fanin.errors import ArgumentError
from fanin.plans import Plan
from fanin.race.course import Course, Settings, course
from fanin.race.result import RaceResult, Run, run_of
from fanin.race.training import train
from fanin.recipes import Recipe
from fanin.torch.capture import capture
from fanin.torch.materialize import materialize
from fanin.torch.planning import plan

Progress = Callable[[int, int, Run], None]


def compare(
    model_factory: Callable[[], nn.Module],
    data: Any,
    recipes: Sequence[str | Recipe],
    seeds: int | Iterable[int] = 3,
    *,
    settings: Settings | None = None,
    name: str = "",
    workers: int | None = None,
    progress: Progress | None = None,
) -> RaceResult:
    """Race recipes: for each recipe and seed, plan, materialize and train a fresh model.

    The seed decides the weights (through their streams) and the order of the samples, which is the same for all
    recipes. Each run has one thread, so results do not depend on `workers`; on the same machine they repeat bit for
    bit. Models that draw random numbers while training (dropout) run one after another under a fixed seed. The
    global random state and the number of torch's threads are restored.

    Args:
        model_factory: builds the model; classifiers that give logits [n, classes].
        data: `fanin.data.mnist()`, or ((inputs, labels), (test inputs, test labels)).
        recipes: names or recipes.
        seeds: how many (0, 1, …), or which.
        settings: numbers of the training; `Settings()` where None.
        name: of the model, for the result; its class where empty.
        workers: runs at a time; as many as the CPUs that this process may use, where None.
        progress: called after each run with (runs done, runs in all, the run).

    Raises:
        ArgumentError: no recipe, a recipe twice, no seed.
        DataError: data that cannot be trained on.
        UnknownNameError: no recipe of that name.

    >>> from torch import eye
    >>> inputs, labels = eye(4), eye(4).argmax(1)  # four samples, each of a class of its own
    >>> result = compare(lambda: nn.Linear(4, 4), ((inputs, labels), (inputs, labels)), ["he", "lecun"], seeds=3)
    >>> {row.recipe: row.accuracy for row in result.standings}
    {'he': 1.0, 'lecun': 1.0}
    """
    chosen = _labels(recipes)
    numbers = tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds)
    if not numbers:
        raise ArgumentError(f"a race needs at least one seed, got {seeds!r}")
    settings, track = settings or Settings(), course(data)
    with torch.random.fork_rng():
        captured = capture(model_factory)
        plans = {label: plan(captured, recipe, inputs=track.train[0][:2]) for label, recipe in chosen.items()}
        jobs = [(label, seed) for label in chosen for seed in numbers]
        serial = _draws(model_factory, track)
        with _single_threads(1 if serial else workers or _cpus()) as pool:
            futures = {
                pool.submit(_run, model_factory, plans[label], label, seed, track, settings, serial): (label, seed)
                for label, seed in jobs
            }
            done: dict[tuple[str, int], Run] = {}
            for future in as_completed(futures):
                done[futures[future]] = future.result()
                if progress is not None:
                    progress(len(done), len(jobs), done[futures[future]])
    return RaceResult(name or type(captured.model).__name__, settings, tuple(done[job] for job in jobs))


def _labels(recipes: Sequence[str | Recipe]) -> dict[str, str | Recipe]:
    labels = {recipe if isinstance(recipe, str) else recipe.name: recipe for recipe in recipes}
    if not labels or len(labels) != len(recipes):
        raise ArgumentError(f"a race needs one or more different recipes, got {[str(r) for r in recipes]}")
    return labels


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _draws(model_factory: Callable[[], nn.Module], track: Course) -> bool:
    """Whether a training step of the model uses the global random state."""
    model = model_factory().train()
    before = torch.get_rng_state()
    model(track.train[0][:2])
    return not torch.equal(before, torch.get_rng_state())


@contextmanager
def _single_threads(workers: int) -> Generator[ThreadPoolExecutor]:
    """A pool whose threads run torch operations on one core each."""
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            try:
                yield pool
            finally:
                pool.shutdown(wait=True, cancel_futures=True)
    finally:
        torch.set_num_threads(threads)


def _run(
    model_factory: Callable[[], nn.Module],
    laws: Plan,
    label: str,
    seed: int,
    track: Course,
    settings: Settings,
    serial: bool,
) -> Run:
    model = materialize(model_factory(), laws, seed=seed)
    if serial:
        torch.manual_seed(seed)
    curves = train(model, track, settings, seed)
    return run_of(label, seed, astuple(curves), settings.target, track.classes)
