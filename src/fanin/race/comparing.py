"""Every pair of starts, seed by seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import inf, isclose
from typing import Literal

from fanin.race.objective import Objective
from fanin.race.run import Run
from fanin.race.statistics import holm, signed_rank

Measure = Literal["steps", "score"]
LEVEL = 0.05
_ROUNDING = 1e-12  # relative


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two starts on the seeds that both ran, which share the order of samples.

    Attributes:
        measure: "steps" to the target (runs that never reach it are last) or the final "score" (diverged runs are
            last).
        better, worse: names; in no order where p tells no difference.
        p: of the exact two-sided signed-rank test.
        corrected: p after Holm's correction for all pairs of this measure.
        effect: rank-biserial correlation, from 0 (as often better as worse) to 1 (better on every seed).
        seeds: how many pairs.
        wins: on how many seeds `better` is better.
        losses: on how many it is worse.

    >>> found = Comparison("steps", "auto", "native", p=0.008, corrected=0.016, effect=1.0, seeds=8, wins=8, losses=0)
    >>> found.significant
    True
    """

    measure: Measure
    better: str
    worse: str
    p: float
    corrected: float
    effect: float
    seeds: int
    wins: int
    losses: int

    @property
    def significant(self) -> bool:
        """Whether the corrected p is below 0.05."""
        return self.corrected < LEVEL


def comparisons(runs: Mapping[str, Sequence[Run]], target: float, objective: Objective) -> tuple[Comparison, ...]:
    """All pairs of starts on both measures."""

    def steps(run: Run) -> float:
        reached = run.steps_to(target, objective)
        return inf if reached is None else float(reached)

    def badness(run: Run) -> float:
        if run.diverged:
            return inf
        return -run.final_score if objective.higher_is_better else run.final_score

    return (*_compared(runs, "steps", steps), *_compared(runs, "score", badness))


def _compared(
    runs: Mapping[str, Sequence[Run]], measure: Measure, badness: Callable[[Run], float]
) -> tuple[Comparison, ...]:
    """All pairs on one measure, of which less is better."""
    values = {name: {run.seed: badness(run) for run in each} for name, each in runs.items()}
    pairs = list(combinations(values, 2))
    shared = {pair: [seed for seed in values[pair[0]] if seed in values[pair[1]]] for pair in pairs}
    tests = {
        (first, second): signed_rank([_excess(values[second][seed], values[first][seed]) for seed in seeds])
        for (first, second), seeds in shared.items()
    }
    corrected = holm([test.p for test in tests.values()])
    made: list[Comparison] = []
    for ((first, second), test), whole in zip(tests.items(), corrected, strict=True):
        wins, losses = test.positive, test.negative
        if test.effect < 0:
            first, second, wins, losses = second, first, losses, wins
        made.append(
            Comparison(
                measure, first, second, test.p, whole, abs(test.effect), wins + losses + test.equal, wins, losses
            )
        )
    return tuple(made)


def _excess(second: float, first: float) -> float:
    """How much worse the second is; nothing where they are equal but for rounding, or both infinite."""
    return 0.0 if isclose(first, second, rel_tol=_ROUNDING) else second - first
