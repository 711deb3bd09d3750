"""The learning rate of each start, chosen by pilot runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import inf, isfinite
from statistics import fmean

import torch

from fanin.race.choice import Choice, Trial
from fanin.race.course import Course
from fanin.race.training import Trained

HELD_OUT = 5  # one sample of so many
FEWEST = 20
SHORT = 4
EXTENSIONS = 2


@dataclass(frozen=True, slots=True)
class Pilot:
    """One pilot run that is wanted."""

    start: str
    rate: float
    seed: int
    steps: int


Fly = Callable[[Sequence[Pilot]], Mapping[Pilot, Trained]]


def held_out(course: Course) -> Course:
    """The course of the pilots: a fifth of the training samples, at most as many as the test set has, is held out.

    The race's own test samples are in neither part, so that what a start is scored on does not choose its rate. Of
    fewer than 20 training samples none is held out, nor where a part would have no target that counts: pilots are then
    judged by those they train on.

    >>> from torch import eye
    >>> from fanin.race.course import course
    >>> data = eye(50), eye(50).argmax(1)
    >>> pilots = held_out(course((data, data)))
    >>> len(pilots.train[0]), len(pilots.test[0])
    (40, 10)
    """
    inputs, targets = course.train
    themselves = replace(course, test=course.train)
    if len(targets) < FEWEST:
        return themselves
    order = torch.randperm(len(targets), generator=torch.Generator().manual_seed(0)).to(targets.device)
    aside = min(len(targets) // HELD_OUT, len(course.test[1]))
    kept, out = order[aside:], order[:aside]
    if not all(course.objective.count(targets[part]) for part in (kept, out)):
        return themselves
    return replace(course, train=(inputs[kept], targets[kept]), test=(inputs[out], targets[out]))


def area(trained: Trained) -> float:
    """The area under the curve of the held-out loss, per step; infinite where a loss is not finite.

    >>> area(Trained((1.0, 1.0), (0, 2), (3.0, 1.0), (0.0, 0.0)))
    2.0
    """
    if not all(map(isfinite, (*trained.losses, *trained.test_losses))):
        return inf
    looks = zip(trained.seen, trained.test_losses, strict=True)
    pieces = ((after - before) * (one + two) / 2 for (before, one), (after, two) in pairwise(looks))
    return sum(pieces) / max(1, trained.seen[-1])


def choose_rates(
    starts: Sequence[str], grid: Sequence[float], steps: int, seeds: Sequence[int], fly: Fly
) -> tuple[Choice, ...]:
    """Choose each start's rate: the one whose pilots have the least area under their held-out loss.

    All rates of the grid fly a quarter of the steps; the better half of them (never one that diverged, if another did
    not) flies all steps, and the best of those is chosen, of equal ones the lower. If it is the least or greatest of
    all that were tried, the next one outside is tried too, at most twice.

    Args:
        starts: names.
        grid: learning rates, ascending.
        steps: of a run of the race.
        seeds: of the pilots; other ones than the race's.
        fly: trains pilots.
    """
    if len(grid) == 1:
        return tuple(Choice(start, grid[0]) for start in starts)
    flown = _Flown(seeds, fly)
    short = steps // SHORT
    finalists = {start: list(grid) for start in starts}
    if short and len(grid) > 2:
        flown.add([(start, rate, short) for start in starts for rate in grid])
        finalists = {start: _better_half(flown.of(start, short)) for start in starts}
    flown.add([(start, rate, steps) for start in starts for rate in finalists[start]])
    tried = {start: list(grid) for start in starts}
    for _ in range(EXTENSIONS):
        outside = {start: _outside(tried[start], _best(flown.of(start, steps))) for start in starts}
        new = [(start, rate, steps) for start, rate in outside.items() if rate is not None]
        flown.add(new)
        for start, rate, _ in new:
            tried[start] = sorted((*tried[start], rate))
    return tuple(_choice(start, flown, tried[start], grid, steps) for start in starts)


class _Flown:
    """All pilots so far."""

    def __init__(self, seeds: Sequence[int], fly: Fly) -> None:
        self.seeds, self.fly = seeds, fly
        self.trials: dict[str, list[Trial]] = {}

    def add(self, wanted: Sequence[tuple[str, float, int]]) -> None:
        pilots = [Pilot(start, rate, seed, steps) for start, rate, steps in wanted for seed in self.seeds]
        done = self.fly(pilots)
        for start, rate, steps in wanted:
            mean = fmean(area(done[Pilot(start, rate, seed, steps)]) for seed in self.seeds)
            self.trials.setdefault(start, []).append(Trial(rate, steps, mean))

    def of(self, start: str, steps: int) -> list[Trial]:
        return [trial for trial in self.trials[start] if trial.steps == steps]


def _better_half(trials: Sequence[Trial]) -> list[float]:
    ranked = sorted(trials, key=lambda trial: (trial.area, trial.rate))
    kept = ranked[: -(-len(ranked) // 2)]
    return sorted(trial.rate for trial in kept if isfinite(trial.area)) or [ranked[0].rate]


def _best(trials: Sequence[Trial]) -> float:
    return min(trials, key=lambda trial: (trial.area, trial.rate)).rate


def _outside(tried: Sequence[float], best: float) -> float | None:
    """The next rate beyond the best one where that is at the edge, at the spacing of the grid."""
    rates = tried if best == tried[-1] else tried[::-1] if best == tried[0] else None
    if rates is None:
        return None
    step = rates[-2] / rates[-3] if len(rates) > 2 else rates[-1] / rates[-2]
    return float(f"{rates[-1] * step:.6g}")


def _choice(start: str, flown: _Flown, tried: Sequence[float], grid: Sequence[float], steps: int) -> Choice:
    best = _best(flown.of(start, steps))
    extended = len(tried) > len(grid)
    return Choice(start, best, tuple(flown.trials[start]), extended, best in (tried[0], tried[-1]))
