"""What every run of a race has in common: the data on tensors, and what is asked of a model on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

import fanin.data
from fanin.data.dataset import IGNORED, Dataset
from fanin.errors import DataError
from fanin.race.objective import Objective, objective, with_gaps

Pair = tuple[Tensor, Tensor]
Progress = Callable[[float, float], None]


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """Inputs and targets to train and to test on.

    Attributes:
        train: (inputs [n, …], targets [n, …]).
        test: the same, of samples that are not trained on.
        objective: loss and score.
        name: the data set's.
        target: the data set's usual score to reach, or None.
        sizes: what a model is built from.
        source: where the data comes from.
    """

    train: Pair
    test: Pair
    objective: Objective
    name: str = ""
    target: float | None = None
    sizes: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""

    def to(self, device: torch.device | str) -> Course:
        """The same on another device.

        >>> from torch import eye
        >>> data = eye(4), eye(4).argmax(1)
        >>> course((data, data)).to("meta").train[0].device.type
        'meta'
        """
        train, test = (tuple(tensor.to(device) for tensor in part) for part in (self.train, self.test))
        return replace(self, train=train, test=test)


def course(data: Any, progress: Progress | None = None) -> Course:
    """The race's data.

    Args:
        data: a `Dataset`, what `fanin.data.load` takes ("digits"), or a pair (train, test) of pairs (inputs, targets)
            of arrays or tensors, whose targets tell the task: integers [n] are classes, other integers are tokens
            [n, T], floating ones values.
        progress: called with (done, in all) while a data set is read.

    Raises:
        DataError: another form, lengths that differ, no samples, NaN, targets that do not fit the task.
        UnknownNameError, MissingExtraError: as `fanin.data.load`.
    """
    if isinstance(data, str):
        data = fanin.data.load(data, progress=progress)
    if isinstance(data, Dataset):
        train, test = ((part.inputs, part.targets) for part in (data.train, data.test))
        known: dict[str, Any] = {"name": data.name, "target": data.target, "sizes": data.sizes, "source": data.source}
        return _course(train, test, data.task, **known)
    train, test = _pair(data, "data", "(train, test), a Dataset or the name of one")
    return _course(train, test, None)


def _course(train: Any, test: Any, task: str | None, **known: Any) -> Course:
    parts = [_tensors(part, what) for part, what in ((train, "training"), (test, "test"))]
    asked = objective(task or _task(parts[0][1]))
    for (_, targets), what in zip(parts, ("training", "test"), strict=True):
        _check(targets, asked.task, what)
    if asked.task != "regression" and bool((parts[0][1] == IGNORED).any()):
        asked = with_gaps(asked)
    return Course(*parts, objective=asked, **known)


def _pair(value: Any, what: str, expected: str) -> tuple[Any, Any]:
    if not isinstance(value, tuple | list) or len(value) != 2:  # pyright: ignore[reportUnknownArgumentType]
        raise DataError(f"{what} must be a pair {expected}, got {type(value).__name__}")
    return value[0], value[1]


def _tensors(part: Any, what: str) -> Pair:
    inputs, targets = map(_tensor, _pair(part, f"{what} data", "(inputs, targets)"))
    if not targets.ndim or len(targets) != len(inputs) or not len(targets):
        raise DataError(
            f"the {what} data needs one target for each input, got targets {list(targets.shape)} for inputs "
            f"{list(inputs.shape)}"
        )
    for values, kind in ((inputs, "inputs"), (targets, "targets")):
        if values.is_floating_point() and not bool(torch.isfinite(values).all()):
            bad = int((~torch.isfinite(values)).sum())
            raise DataError(f"the {what} {kind} hold {bad} non-finite values of {values.numel()}: clean them first")
    return inputs, targets if targets.is_floating_point() else targets.long()


def _tensor(values: Any) -> Tensor:
    if isinstance(values, np.ndarray):
        values = np.require(values, requirements="W")  # a copy of what is read-only, of which torch would warn
    tensor = torch.as_tensor(values)
    # NumPy's own float64 is seldom meant, and models are float32.
    return tensor.float() if isinstance(values, np.ndarray) and tensor.dtype == torch.float64 else tensor


def _task(targets: Tensor) -> str:
    if targets.is_floating_point():
        return "regression"
    return "classification" if targets.ndim == 1 else "tokens"


def _check(targets: Tensor, task: str, what: str) -> None:
    if task == "regression":
        if not targets.is_floating_point():
            raise DataError(f"the {what} targets of a regression must be floating, got {targets.dtype}")
        return
    if targets.is_floating_point():
        raise DataError(f"the {what} targets of {task} must be integers, got {targets.dtype}")
    counted = targets[targets != IGNORED]
    if not counted.numel():
        raise DataError(f"none of the {what} targets counts: all are {IGNORED}")
    if int(counted.min()) < 0:
        raise DataError(
            f"the {what} targets hold {int(counted.min())}: classes count from 0, and {IGNORED} is left out of loss "
            "and score"
        )
