"""A task of the benchmark: one model on one data set, with the numbers of its training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import fanin.data
from fanin.data import Dataset, Samples
from fanin.race import Settings


@dataclass(frozen=True, slots=True)
class Task:
    """One model on one data set.

    Attributes:
        name: in tables, and of its folder in the store.
        model: as `fanin.models.factory` takes it.
        data: as `fanin.data.load` takes it, or what makes the data set.
        settings: of the training; the rates are half a decade apart, and `compare` looks beyond them where it must.
        usual: the recipe that is usual for the activation.
        deep: it has no normalisation, and ten or more weights one behind another.
        why: what the task stands for.
    """

    name: str
    model: str
    data: str | Callable[[], Dataset]
    settings: Settings
    usual: str
    deep: bool
    why: str

    def load(self) -> Dataset:
        """The data set."""
        return fanin.data.load(self.data) if isinstance(self.data, str) else self.data()


def images_to_themselves(spec: str) -> Dataset:
    """A set of images whose targets are the images."""
    data = fanin.data.load(spec)
    train, test = (Samples(part.inputs, part.inputs) for part in (data.train, data.test))
    return replace(data, train=train, test=test, task="regression", target=None)


def quickened(task: Task, steps: int) -> Task:
    """The task with so few steps that it shows nothing but that it runs."""
    changes: dict[str, Any] = {"steps": steps, "evaluate_every": max(1, steps // 4)}
    return replace(task, settings=replace(task.settings, **changes))
