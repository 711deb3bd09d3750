"""What every run of a race has in common: the data on tensors, and the numbers of the training."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from fanin.errors import ArgumentError, DataError


@dataclass(frozen=True, slots=True)
class Settings:
    """The training of each run; fixed numbers, tuned for no recipe.

    Attributes:
        steps: optimizer steps of a run.
        batch_size: samples of a step.
        optimizer: "sgd" (momentum 0.9, no weight decay) or "adam" (β = 0.9, 0.999).
        learning_rate: constant through the run; None is 0.05 for sgd and 0.001 for adam.
        evaluate_every: steps between two looks at the test data.
        target: test accuracy to reach.

    Raises:
        ArgumentError: a number that cannot be meant.
    """

    steps: int = 200
    batch_size: int = 64
    optimizer: Literal["sgd", "adam"] = "sgd"
    learning_rate: float | None = None
    evaluate_every: int = 10
    target: float = 0.9

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "evaluate_every"):
            if getattr(self, name) < 1:
                raise ArgumentError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.optimizer not in ("sgd", "adam"):
            raise ArgumentError(f"optimizer must be 'sgd' or 'adam', got {self.optimizer!r}")
        if not 0 < self.target <= 1:
            raise ArgumentError(f"target is a test accuracy above 0 and up to 1, got {self.target}")
        if self.learning_rate is not None and not self.learning_rate > 0:
            raise ArgumentError(f"learning_rate must be positive, got {self.learning_rate}")

    @property
    def rate(self) -> float:
        """The learning rate in use."""
        return self.learning_rate or (0.05 if self.optimizer == "sgd" else 1e-3)

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self) | {"learning_rate": self.rate}


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """Inputs and labels to train and to test on."""

    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]

    @property
    def classes(self) -> int:
        """Number of classes."""
        return int(max(self.train[1].max(), self.test[1].max())) + 1


def course(data: Any) -> Course:
    """The race's data from `fanin.data.mnist()`, or from a pair (train, test) of pairs (inputs, labels).

    Raises:
        DataError: another form, labels that are not integers, lengths that differ, no samples, or NaN.
    """
    train, test = (data.train, data.test) if hasattr(data, "train") else _pair(data, "data", "(train, test)")
    return Course(_samples(train, "training"), _samples(test, "test"))


def _pair(value: Any, what: str, expected: str) -> tuple[Any, Any]:
    if not isinstance(value, tuple | list) or len(value) != 2:  # pyright: ignore[reportUnknownArgumentType]
        raise DataError(f"{what} must be a pair {expected} or fanin.data.mnist(), got {type(value).__name__}")
    return value[0], value[1]


def _samples(part: Any, what: str) -> tuple[Tensor, Tensor]:
    raw = (part.images, part.labels) if hasattr(part, "images") else _pair(part, f"{what} data", "(inputs, labels)")
    inputs, labels = (torch.as_tensor(values) for values in raw)
    if labels.is_floating_point() or labels.ndim != 1 or len(labels) != len(inputs) or not len(labels):
        raise DataError(
            f"{what} labels must be one integer per sample, got {labels.dtype} {list(labels.shape)} for inputs "
            f"{list(inputs.shape)}"
        )
    if inputs.is_floating_point() and not bool(torch.isfinite(inputs).all()):
        bad = int((~torch.isfinite(inputs)).sum())
        raise DataError(f"the {what} inputs hold {bad} non-finite values of {inputs.numel()}: clean them first")
    return inputs, labels.long()
