"""The learning rate of a start, and what it was chosen from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import inf, isfinite
from typing import Any


@dataclass(frozen=True, slots=True)
class Trial:
    """Pilot runs with one learning rate.

    Attributes:
        rate: learning rate.
        steps: their length.
        area: mean held-out loss over those steps (the area under its curve per step), averaged over the pilots;
            infinite where one diverged.

    >>> Trial(rate=0.1, steps=50, area=1.4).rate
    0.1
    """

    rate: float
    steps: int
    area: float


@dataclass(frozen=True, slots=True)
class Choice:
    """The learning rate that a start races with.

    Attributes:
        start: its name.
        rate: learning rate.
        trials: what was tried, first the short pilots, then the long ones; none where the rate was given.
        extended: whether rates outside the grid were tried, because the best one was at its edge.
        at_edge: whether the chosen one is still the least or greatest that was tried.

    >>> choice = Choice("he", 0.1, (Trial(0.1, 200, 1.2), Trial(0.3, 200, 1.9)))
    >>> Choice.from_dict(choice.to_dict()) == choice
    True
    """

    start: str
    rate: float
    trials: tuple[Trial, ...] = ()
    extended: bool = False
    at_edge: bool = False

    def to_dict(self) -> dict[str, Any]:
        """JSON form; an infinite area is null."""
        data = asdict(self)
        data["trials"] = [
            asdict(trial) | {"area": trial.area if isfinite(trial.area) else None} for trial in self.trials
        ]
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Choice:
        """The choice of that JSON form."""
        trials = (
            Trial(each["rate"], each["steps"], inf if each["area"] is None else each["area"]) for each in data["trials"]
        )
        return cls(data["start"], data["rate"], tuple(trials), data["extended"], data["at_edge"])
