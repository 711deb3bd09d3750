"""The five starts of a task, AnyInit among them where it is installed and runs on the model."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

import fanin.models
from convergence.task import Task
from fanin.race.course import course

DEFAULT, AUTO, ANYINIT, LSUV = "torch default", "auto", "AnyInit", "LSUV"
USUAL = {"he": "He", "xavier": "Xavier"}
MISSING = "not installed"


def anyinit(model: nn.Module, seed: int, inputs: Tensor) -> None:
    """AnyInit as its page shows it first: mode "analytic", with a batch for the shapes."""
    import anyinit

    anyinit.initialize(model, "analytic", inputs, seed=seed)


def racers(task: Task) -> tuple[dict[str, Any], str]:
    """What races, by name, and why AnyInit does not (empty where it does)."""
    found: dict[str, Any] = {DEFAULT: "native", AUTO: "auto", USUAL[task.usual]: task.usual, LSUV: "lsuv"}
    problem = MISSING if find_spec("anyinit") is None else problem_of(task, anyinit)
    return (found if problem else found | {ANYINIT: anyinit}), problem


def problem_of(task: Task, start: Callable[[nn.Module, int, Tensor], None]) -> str:
    """What stops a start on the task's model, tried once; "" where nothing does."""
    data = task.load()
    model = fanin.models.factory(task.model, sizes=data.sizes)()
    with torch.random.fork_rng():
        try:
            start(model, 0, course(data).train[0][:32])
        except Exception as error:  # whatever a package raises of a model that it does not take
            return f"raises {type(error).__name__}"
    return ""
