"""The numbers of a race's training."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from math import isfinite
from typing import Any, Literal, get_args

from fanin.errors import ArgumentError, UnknownNameError

Optimizer = Literal["sgd", "adam", "adamw"]
LOOKS = 40
# Half a decade apart, around what each optimizer is usually run with.
GRIDS = {
    "sgd": (0.003, 0.01, 0.03, 0.1, 0.3),
    "adam": (1e-4, 3e-4, 1e-3, 3e-3, 1e-2),
    "adamw": (1e-4, 3e-4, 1e-3, 3e-3, 1e-2),
}


@dataclass(frozen=True, slots=True)
class Settings:
    """The training of each run; the same for all starts but for the learning rate.

    Attributes:
        steps: optimizer steps of a run.
        batch_size: samples of a step.
        optimizer: "sgd" (momentum 0.9, no weight decay), "adam" (β = 0.9, 0.999), or "adamw" (the same with weight
            decay 0.01); the learning rate is constant through a run.
        learning_rate: the same for all starts; None chooses one for each start from `rates`.
        rates: learning rates to choose from; the optimizer's usual ones where empty.
        clip: greatest norm of a step's gradient; None leaves it as it is.
        evaluate_every: steps between two looks at the test data.
        target: score to reach (accuracy from 0 to 1; RMSE for regression); None takes the data set's, or one that is
            chosen after the race.

    Raises:
        ArgumentError, UnknownNameError: a number or name that cannot be meant.

    >>> Settings(optimizer="adam").grid
    (0.0001, 0.0003, 0.001, 0.003, 0.01)
    """

    steps: int = 200
    batch_size: int = 64
    optimizer: Optimizer = "sgd"
    learning_rate: float | None = None
    rates: tuple[float, ...] = ()
    clip: float | None = None
    evaluate_every: int = 10
    target: float | None = None

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "evaluate_every"):
            if getattr(self, name) < 1:
                raise ArgumentError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.optimizer not in get_args(Optimizer):
            raise UnknownNameError.among("optimizer", self.optimizer, get_args(Optimizer))
        object.__setattr__(self, "rates", tuple(self.rates))
        positive = [("learning_rate", self.learning_rate), ("clip", self.clip), ("target", self.target)]
        for name, value in [*positive, *(("rates", rate) for rate in self.rates)]:
            if value is not None and not (value > 0 and isfinite(value)):
                raise ArgumentError(f"{name} must be positive, got {value}")
        if len(set(self.rates)) != len(self.rates):
            raise ArgumentError(f"rates must differ, got {list(self.rates)}")
        if self.rates and self.learning_rate is not None:
            raise ArgumentError("learning_rate is one for all starts, rates are to choose from: give one of them")

    @property
    def grid(self) -> tuple[float, ...]:
        """The learning rates that pilots try, ascending; one where it is given."""
        if self.learning_rate is not None:
            return (self.learning_rate,)
        return tuple(sorted(self.rates)) or GRIDS[self.optimizer]

    def lasting(self, steps: int) -> Settings:
        """The same for so many steps, with about forty looks at the test data.

        >>> Settings().lasting(800).evaluate_every
        20
        """
        return replace(self, steps=steps, evaluate_every=max(1, steps // LOOKS))

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self) | {"rates": list(self.rates)}
