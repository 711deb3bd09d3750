"""What a race found: every run, and each recipe's standing over the seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from statistics import median
from typing import Any, Literal

from fanin.race.course import Settings

Outcome = Literal["reached", "slow", "stuck", "diverged"]


@dataclass(frozen=True, slots=True)
class Run:
    """One recipe from one seed.

    Attributes:
        losses: training loss of each step (cross entropy of its batch, nats).
        seen: the steps after which the test data was looked at (0 is before training).
        accuracies: test accuracy after those steps, 0 to 1.
        test_losses: test loss after those steps.
        steps_to_target: the first of those steps with the target accuracy; None if none had it.
        outcome: "reached" the target; "slow": learned, but not to the target; "stuck": at most twice as good as
            guessing at the end; "diverged": the loss became NaN or infinite.
    """

    recipe: str
    seed: int
    losses: tuple[float, ...]
    seen: tuple[int, ...]
    accuracies: tuple[float, ...]
    test_losses: tuple[float, ...]
    steps_to_target: int | None
    outcome: Outcome

    @property
    def final_accuracy(self) -> float:
        """Test accuracy at the end."""
        return self.accuracies[-1]


@dataclass(frozen=True, slots=True)
class Standing:
    """One recipe over all seeds.

    Attributes:
        steps_to_target: median over seeds, where runs that never reach it count as infinitely long; None where the
            median run does not reach it.
        spread: fewest and most steps of the runs that reach it.
        accuracy, lowest, highest: median and range of the final test accuracy.
        reached, slow, stuck, diverged: how many runs ended so.
    """

    recipe: str
    steps_to_target: float | None
    spread: tuple[int, int] | None
    accuracy: float
    lowest: float
    highest: float
    reached: int
    slow: int
    stuck: int
    diverged: int

    @classmethod
    def of(cls, recipe: str, runs: Sequence[Run]) -> Standing:
        """The standing of the runs of one recipe."""
        reached = [run.steps_to_target for run in runs if run.steps_to_target is not None]
        steps = median([float("inf") if run.steps_to_target is None else run.steps_to_target for run in runs])
        finals = [run.final_accuracy for run in runs]
        ends = {name: sum(run.outcome == name for run in runs) for name in ("reached", "slow", "stuck", "diverged")}
        return cls(
            recipe,
            steps if isfinite(steps) else None,
            (min(reached), max(reached)) if reached else None,
            median(finals),
            min(finals),
            max(finals),
            **ends,
        )

    @property
    def failures(self) -> int:
        """Runs that diverged or got stuck."""
        return self.stuck + self.diverged


@dataclass(frozen=True, slots=True)
class RaceResult:
    """All runs of a race, recipe by recipe in the order given.

    Attributes:
        model: its name.
        settings: the numbers of the training.
        runs: one entry for each recipe and seed.

    >>> from torch import eye, nn
    >>> from fanin.race import compare
    >>> inputs, labels = eye(4), eye(4).argmax(1)
    >>> data = (inputs, labels), (inputs, labels)
    >>> result = compare(lambda: nn.Linear(4, 4), data, ["he", "xavier"], 2, settings=Settings(steps=3))
    >>> result.recipes, [(run.seed, len(run.losses)) for run in result.of("he")]
    (('he', 'xavier'), [(0, 3), (1, 3)])
    """

    model: str
    settings: Settings
    runs: tuple[Run, ...]

    @property
    def recipes(self) -> tuple[str, ...]:
        """The recipes in the order given."""
        return tuple(dict.fromkeys(run.recipe for run in self.runs))

    def of(self, recipe: str) -> tuple[Run, ...]:
        """The runs of one recipe."""
        return tuple(run for run in self.runs if run.recipe == recipe)

    @property
    def standings(self) -> tuple[Standing, ...]:
        """One standing per recipe, in the order given."""
        return tuple(Standing.of(recipe, self.of(recipe)) for recipe in self.recipes)

    def to_dict(self) -> dict[str, Any]:
        """JSON form; a loss that is not finite is null."""
        return {
            "model": self.model,
            "settings": self.settings.to_dict(),
            "standings": [asdict(standing) for standing in self.standings],
            "runs": [_finite(asdict(run)) for run in self.runs],
        }

    def __str__(self) -> str:
        percent = f"{self.settings.target:.0%}"
        numbers = self.settings
        head = f"{self.model}: {numbers.optimizer}, learning rate {numbers.rate:g}, {numbers.steps} steps"
        rows = [_line(standing) for standing in self.standings]
        return "\n".join([head, f"{'recipe':<16}{'steps to ' + percent:>14}{'final accuracy':>24}  failed", *rows])


def _line(standing: Standing) -> str:
    steps = "not reached" if standing.steps_to_target is None else f"{standing.steps_to_target:g}"
    accuracy = f"{standing.accuracy:.1%} ({standing.lowest:.1%}–{standing.highest:.1%})"
    runs = standing.reached + standing.slow + standing.failures
    return f"{standing.recipe:<16}{steps:>14}{accuracy:>24}  {standing.failures} of {runs}"


def _finite(run: dict[str, Any]) -> dict[str, Any]:
    for name in ("losses", "test_losses"):
        run[name] = [value if isfinite(value) else None for value in run[name]]
    return run


def run_of(
    recipe: str,
    seed: int,
    curves: tuple[tuple[float, ...], tuple[int, ...], tuple[float, ...], tuple[float, ...]],
    target: float,
    classes: int,
) -> Run:
    """A run with its outcome, from (losses, seen, accuracies, test_losses)."""
    losses, seen, accuracies, _ = curves
    reached = next((step for step, accuracy in zip(seen, accuracies, strict=True) if accuracy >= target), None)
    outcome: Outcome = "slow" if reached is None else "reached"
    if accuracies[-1] <= 2 / classes:
        outcome = "stuck"
    if not all(map(isfinite, losses)):
        outcome = "diverged"
    return Run(recipe, seed, *curves, reached, outcome)
