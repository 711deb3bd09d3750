"""What a race is at, for whoever watches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Phase = Literal["data", "starts", "speed", "rates", "race"]


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment of a race.

    Attributes:
        phase: reading the "data", preparing the "starts", measuring the "speed", choosing "rates", or the "race".
        done: share of the phase that is done, from 0 to 1.
        finished: runs of the phase that are finished.
        total: runs of the phase.
        best: name and score of the best start so far in the race; "" before.

    >>> Moment("race", 0.5, finished=4, total=8, best="he 91%").done
    0.5
    """

    phase: Phase
    done: float
    finished: int = 0
    total: int = 0
    best: str = ""


Watch = Callable[[Moment], None]
