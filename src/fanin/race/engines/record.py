"""What is known of a run while it trains."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite

from fanin.race.training import Trained


@dataclass(slots=True)
class Record:
    """Losses and looks of a run so far; each is put in at once, so that an interrupt finds it whole.

    Attributes:
        losses: training loss of each step.
        looks: (step, test loss, score).
        ended: after the last step, or after a loss that is not finite.
    """

    losses: list[float] = field(default_factory=list[float])
    looks: list[tuple[int, float, float]] = field(default_factory=list[tuple[int, float, float]])
    ended: bool = False

    def add(self, loss: float) -> None:
        """Put in the loss of a step; the run ends with the first one that is not finite."""
        if not self.ended:
            self.losses.append(loss)
            self.ended = not isfinite(loss)

    def look(self, step: int, loss: float, score: float) -> None:
        """Put in a look at the test data, unless the run had ended before that step."""
        if not self.ended or step == len(self.losses):
            self.looks.append((step, loss, score))

    def trained(self) -> Trained | None:
        """The run as it stands; None where it never saw the test data."""
        if not self.looks:
            return None
        seen, losses, scores = zip(*self.looks, strict=True)
        return Trained(tuple(self.losses), seen, losses, scores, self.ended)
