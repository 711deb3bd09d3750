"""One run of a race, as it was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import inf, isfinite
from typing import Any

from fanin.race.objective import Objective


@dataclass(frozen=True, slots=True)
class Run:
    """One start from one seed, trained.

    Attributes:
        start: its name.
        seed: of the weights and of the order of samples.
        rate: learning rate.
        losses: training loss of each step; one that is not finite is held as infinite.
        seen: the steps after which the test data was looked at (0 is before training).
        test_losses: test loss after those steps.
        scores: score on the test data after those steps.

    >>> run = Run("he", 0, 0.1, (2.3, 0.9), (0, 2), (2.3, 0.8), (0.1, 0.9))
    >>> run.diverged, run.final_score
    (False, 0.9)
    """

    start: str
    seed: int
    rate: float
    losses: tuple[float, ...]
    seen: tuple[int, ...]
    test_losses: tuple[float, ...]
    scores: tuple[float, ...]

    def __post_init__(self) -> None:
        for name in ("losses", "test_losses", "scores"):
            held = tuple(float(value) if isfinite(value) else inf for value in getattr(self, name))
            object.__setattr__(self, name, held)

    @property
    def diverged(self) -> bool:
        """Whether a training loss, or what the end was judged by, became NaN or infinite."""
        return not all(map(isfinite, (*self.losses, self.test_losses[-1], self.scores[-1])))

    @property
    def final_score(self) -> float:
        """The score at the last look."""
        return self.scores[-1]

    def steps_to(self, target: float, objective: Objective) -> int | None:
        """The first look with a score as good as the target; None if there was none or the run diverged."""
        if self.diverged:
            return None
        pairs = zip(self.seen, self.scores, strict=True)
        return next((step for step, score in pairs if objective.reaches(score, target)), None)

    def to_dict(self) -> dict[str, Any]:
        """JSON form; what is not finite is null."""
        return {name: _listed(value) for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Run:
        """The run of that JSON form."""
        lists: dict[str, Any] = {name: tuple(inf if each is None else each for each in data[name]) for name in _LISTS}
        return cls(data["start"], data["seed"], data["rate"], **lists)


_LISTS = ("losses", "seen", "test_losses", "scores")


def _listed(value: Any) -> Any:
    if not isinstance(value, tuple):
        return value
    return [None if isinstance(each, float) and not isfinite(each) else each for each in value]
