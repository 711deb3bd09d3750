"""What predicting a constant would reach: the level that a run must leave to have learned anything."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor

from fanin.data.dataset import IGNORED
from fanin.race.course import Course
from fanin.race.objective import Objective

_STANDARD_ERRORS = 3.0
_OF_ROOM = 0.9  # between the constant and 100 %, which is always better
_OF_RMSE = 0.01


@dataclass(frozen=True, slots=True)
class Level:
    """The test score of the best constant that the training targets tell, and how much better is no accident.

    Attributes:
        score: test accuracy of the most frequent training class; or RMSE of the mean training target.
        margin: 3 binomial standard errors of that accuracy, at most 9/10 of what it lacks to 100 %; or 1 % of that
            RMSE.
    """

    score: float
    margin: float

    def stuck(self, score: float, objective: Objective) -> bool:
        """Whether a score is no better than the constant's.

        >>> from fanin.race.objective import OBJECTIVES
        >>> Level(0.1, 0.03).stuck(0.12, OBJECTIVES["classification"])
        True
        """
        better = score - self.score if objective.higher_is_better else self.score - score
        return not better > self.margin

    def beatable(self, objective: Objective) -> bool:
        """Whether any score is better; none is where all targets are one value."""
        return self.score < 1 if objective.higher_is_better else self.score > 0


def constant_level(course: Course) -> Level:
    """The constant's level on the course's test data.

    >>> from torch import ones, tensor, zeros
    >>> from fanin.race.course import course
    >>> inputs = zeros(4, 1)
    >>> constant_level(course(((inputs, tensor([0, 0, 1, 0])), (inputs, tensor([0, 1, 0, 1]))))).score
    0.5
    """
    train, test = course.train[1], course.test[1]
    if course.objective.task == "regression":
        guess = train.mean(dim=0, dtype=torch.float64)
        score = sqrt(float((test - guess).square().mean()))
        return Level(score, _OF_RMSE * score)
    counted = _counted(test)
    score = float((counted == int(torch.bincount(_counted(train)).argmax())).double().mean())
    errors = _STANDARD_ERRORS * sqrt(score * (1 - score) / len(counted))
    return Level(score, min(errors, _OF_ROOM * (1 - score)))


def _counted(targets: Tensor) -> Tensor:
    return targets[targets != IGNORED]
