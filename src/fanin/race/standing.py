"""Each start over all seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isfinite
from statistics import fmean, median
from typing import Literal

from fanin.race.constant import Level
from fanin.race.objective import Objective
from fanin.race.run import Run
from fanin.race.statistics import mean_interval

Outcome = Literal["reached", "slow", "stuck", "diverged"]


@dataclass(frozen=True, slots=True)
class Standing:
    """One start over all seeds.

    Attributes:
        start: its name.
        rate: its learning rate.
        steps_to_target: median over seeds, where runs that never reach it count as infinitely long; None where the
            median run does not reach it.
        seconds_to_target: those steps times the measured seconds per step; None where either is missing. Noisy.
        spread: fewest and most steps of the runs that reach it.
        score: mean of the final scores; a diverged run counts with the score of a constant.
        interval: 95 % confidence interval of that mean (Student's t); None from one seed.
        lowest, highest: range of the final scores.
        reached, slow, stuck, diverged: how many runs reached the target, wherever they ended; learned but did not reach
            it; did not, and ended no better than predicting a constant; had a loss that became NaN or infinite.

    >>> from fanin.race.objective import OBJECTIVES
    >>> run = Run("he", 0, 0.1, (2.3, 0.9), (0, 2), (2.3, 0.8), (0.1, 0.95))
    >>> row = standing([run], 0.9, OBJECTIVES["classification"], Level(0.1, 0.03), seconds=0.5)
    >>> row.steps_to_target, row.seconds_to_target, row.failures
    (2, 1.0, 0)
    """

    start: str
    rate: float
    steps_to_target: float | None
    seconds_to_target: float | None
    spread: tuple[int, int] | None
    score: float
    interval: tuple[float, float] | None
    lowest: float
    highest: float
    reached: int
    slow: int
    stuck: int
    diverged: int

    @property
    def failures(self) -> int:
        """Runs that diverged or got stuck."""
        return self.stuck + self.diverged

    @property
    def runs(self) -> int:
        """How many there are."""
        return self.reached + self.slow + self.failures


def standing(runs: Sequence[Run], target: float, objective: Objective, level: Level, seconds: float | None) -> Standing:
    """The standing of the runs of one start, `seconds` being those of a step.

    Raises:
        ValueError: no run.
    """
    steps = [run.steps_to(target, objective) for run in runs]
    reached = [each for each in steps if each is not None]
    middle = median(inf if each is None else each for each in steps)
    finals = [final(run, level) for run in runs]
    outcomes = [outcome(run, target, objective, level) for run in runs]
    interval = mean_interval(finals)
    return Standing(
        runs[0].start,
        runs[0].rate,
        middle if isfinite(middle) else None,
        middle * seconds if isfinite(middle) and seconds is not None else None,
        (min(reached), max(reached)) if reached else None,
        fmean(finals),
        None if interval is None else (max(0.0, interval[0]), _capped(interval[1], objective)),
        min(finals),
        max(finals),
        reached=outcomes.count("reached"),
        slow=outcomes.count("slow"),
        stuck=outcomes.count("stuck"),
        diverged=outcomes.count("diverged"),
    )


def final(run: Run, level: Level) -> float:
    """The final score; a diverged model is worth a constant."""
    return level.score if run.diverged else run.final_score


def outcome(run: Run, target: float, objective: Objective, level: Level) -> Outcome:
    """How a run ended."""
    if run.diverged:
        return "diverged"
    if run.steps_to(target, objective) is not None and level.beatable(objective):
        return "reached"  # before "stuck": what has a number of steps to the target is no failure
    return "stuck" if level.stuck(run.final_score, objective) else "slow"


def _capped(value: float, objective: Objective) -> float:
    return min(1.0, value) if objective.higher_is_better else value
