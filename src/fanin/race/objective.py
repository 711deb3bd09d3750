"""What a task asks of a model: the loss that training lowers, and the score that a race is about."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import sqrt
from types import MappingProxyType

from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss

from fanin.data.dataset import IGNORED
from fanin.errors import UnknownNameError


@dataclass(frozen=True, slots=True)
class Objective:
    """Loss and score of a task. The functions take (outputs, targets) and work under `torch.func.vmap`.

    Attributes:
        task: "classification", "tokens" or "regression".
        loss: the mean over what counts, to be differentiated.
        loss_sum: the same, summed; a mean over chunks is the sum of these over the sum of `count(targets)`.
        score_sum: what the score is made of, summed the same way.
        count: number of terms of a sum, from the targets.
        score: the score, from the mean of score_sum's terms.
        higher_is_better: whether a greater score is better.
        loss_name, loss_unit, score_name: for tables and axes.

    >>> from torch import eye, tensor
    >>> wanted, labels = OBJECTIVES["classification"], tensor([0, 1, 1])
    >>> right = wanted.score_sum(eye(3), labels)
    >>> int(right), round(wanted.score(float(right) / wanted.count(labels)), 3)
    (2, 0.667)
    """

    task: str
    loss: Callable[[Tensor, Tensor], Tensor]
    loss_sum: Callable[[Tensor, Tensor], Tensor]
    score_sum: Callable[[Tensor, Tensor], Tensor]
    count: Callable[[Tensor], int]
    score: Callable[[float], float]
    higher_is_better: bool
    loss_name: str
    loss_unit: str
    score_name: str

    def reaches(self, score: float, target: float) -> bool:
        """Whether a score is as good as the target."""
        return score >= target if self.higher_is_better else score <= target

    @property
    def worst(self) -> float:
        """A score that no model is worse than."""
        return 0.0 if self.higher_is_better else float("inf")


def _mean_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    return cross_entropy(outputs.flatten(0, -2), targets.flatten(), ignore_index=IGNORED)


def _mean_of_counted(outputs: Tensor, targets: Tensor) -> Tensor:
    return _summed_entropy(outputs, targets) / (targets != IGNORED).sum().clamp(min=1)


def _summed_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    return cross_entropy(outputs.flatten(0, -2), targets.flatten(), ignore_index=IGNORED, reduction="sum")


def _right(outputs: Tensor, targets: Tensor) -> Tensor:
    # An ignored target is negative, and so no index that argmax gives.
    return (outputs.argmax(-1) == targets).sum()


def _labelled(targets: Tensor) -> int:
    return int((targets != IGNORED).sum())


def _squares(outputs: Tensor, targets: Tensor) -> Tensor:
    return mse_loss(outputs, targets, reduction="sum")


def _same(value: float) -> float:
    return value


def _root(value: float) -> float:
    return sqrt(value) if value >= 0 else value  # NaN stays NaN


def _classes(task: str) -> Objective:
    entropy = (_mean_entropy, _summed_entropy)
    return Objective(task, *entropy, _right, _labelled, _same, True, "cross entropy", "nats", "accuracy")


OBJECTIVES: Mapping[str, Objective] = MappingProxyType(
    {
        "classification": _classes("classification"),
        "tokens": _classes("tokens"),
        "regression": Objective(
            "regression", mse_loss, _squares, _squares, Tensor.numel, _root, False, "mean squared error", "", "RMSE"
        ),
    }
)
"""By task: mean cross entropy (nats, targets of −100 left out) and accuracy; mean squared error and its root."""


def with_gaps(asked: Objective) -> Objective:
    """For targets of −100, of which a batch may hold nothing else: its loss is 0, where torch's own mean is NaN.

    >>> from torch import tensor, zeros
    >>> float(with_gaps(objective("classification")).loss(zeros(1, 2), tensor([-100])))
    0.0
    """
    return replace(asked, loss=_mean_of_counted)


def objective(task: str) -> Objective:
    """The objective of a task.

    Raises:
        UnknownNameError: no such task.

    >>> objective("regression").score_name
    'RMSE'
    """
    if task not in OBJECTIVES:
        raise UnknownNameError.among("task", task, OBJECTIVES)
    return OBJECTIVES[task]
