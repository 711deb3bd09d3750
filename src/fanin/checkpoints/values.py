"""The values of a plan's tensors, without a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from math import prod
from pathlib import Path
from threading import Lock
from typing import Any

import torch

from fanin.checkpoints.sources import Computed, Drawn, FromFile, Source, matrices
from fanin.errors import PlanError
from fanin.initializers import Initializer
from fanin.plans import Plan
from fanin.plans.steps import Copy, Draw, Keep, Replay, Step, Unknown
from fanin.random import Region, Stream
from fanin.torch.fill import fill
from fanin.torch.materialize.checks import Task, planned
from fanin.torch.materialize.pages import prefer_huge_pages
from fanin.torch.replay import DTYPES, Draws, Sources, limit_for, run

_LISTED = 5


@dataclass(frozen=True, slots=True)
class Values:
    """Every value that a plan's steps give under a seed.

    Attributes:
        tasks: the steps that give values, by name, all checked.
        seed: of the draws.
        threads: for what is computed whole.
    """

    tasks: Mapping[str, Task]
    seed: int
    threads: int
    _heavy: Lock = field(default_factory=Lock)

    @classmethod
    def of(cls, plan: Plan, seed: int, threads: int) -> Values:
        """The values of a plan, if all tensors that a state dict holds have some.

        Raises:
            PlanError: which tensors have none, or a step that cannot be done.
            WeightsError: a file to copy from cannot be read.
        """
        _check_sources(plan)
        Stream.named(seed, "")
        tasks = {task.step.name: task for task in planned(plan)}
        return cls(tasks, seed, threads)

    @property
    def files(self) -> set[str]:
        """All files that are read."""
        return {path for task in self.tasks.values() if task.source is not None for path in task.source.files}

    def source(self, name: str) -> Source:
        """Where the values of a tensor come from; to be read once through."""
        task = self.tasks[name]
        step, dtype = task.step, DTYPES[task.step.dtype]
        match step.action:
            case Draw(law) if law.elementwise or not prod(step.shape):
                return Drawn(law, Stream.named(self.seed, name), step.shape, dtype)
            case Draw(law):
                return matrices(law, step.shape, lambda region: self._alone(partial(self._part, step, law, region)))
            case Copy(path, key) if task.source is not None and (place := task.source.place) is not None:
                return FromFile(place.path or Path(path), key, place.begin, DTYPES[place.dtype], dtype)
            case Replay(program) if _copies(program) and self._alike(name, task.after[0]):
                return self.source(task.after[0])
            case _:
                return Computed(lambda: self._alone(partial(self.whole, name)), 0, prod(step.shape))

    def whole(self, name: str) -> torch.Tensor:
        """All values of a tensor, in the plan's dtype."""
        task = self.tasks[name]
        step = task.step
        if isinstance(step.action, Draw):
            return self._part(step, step.action.initializer, Region.whole(step.shape))
        values = _memory(step.shape, DTYPES[step.dtype])
        if isinstance(step.action, Copy) and task.source is not None:
            values.copy_(task.source.values(self.seed))
            task.source.release()
        elif isinstance(step.action, Replay):
            sources = Sources(self.whole, partial(self._draw_for, name))
            values.copy_(run(step.action.program, sources, limit=limit_for(step.shape)))
        else:
            self.source(name).read(values.view(-1), 0)
        return values

    def _alone(self, compute: Callable[[], torch.Tensor]) -> torch.Tensor:
        """What takes all threads and much memory is done one after the other."""
        with self._heavy:
            return compute()

    def _part(self, step: Step, law: Initializer, region: Region) -> torch.Tensor:
        values = _memory(region.size, DTYPES[step.dtype])
        fill(values, law, Stream.named(self.seed, step.name), region=region, threads=self.threads)
        return values

    def _draw_for(self, name: str, draws: Draws) -> torch.Tensor:
        values = _memory(draws.shape, draws.dtype)
        fill(values, draws.law, Stream.named(self.seed, draws.stream or name).at_lane(draws.lane), threads=self.threads)
        return values

    def _alike(self, name: str, other: str) -> bool:
        one, two = self.tasks[name].step, self.tasks[other].step
        return (one.shape, one.dtype) == (two.shape, two.dtype)


def _check_sources(plan: Plan) -> None:
    without = [step for step in plan.steps if step.persistent and isinstance(step.action, Keep | Unknown)]
    if not without:
        return
    reasons = "; ".join(f"{step.name} ({_lack(step)})" for step in without[:_LISTED])
    more = f" and {len(without) - _LISTED} more" if len(without) > _LISTED else ""
    raise PlanError(
        f"the plan has no values for {len(without)} tensors, and no model is at hand to keep them from: "
        f"{reasons}{more}. Give them a law with plan.override({{name: initializer}}), or a Copy step"
    )


def _lack(step: Step) -> str:
    return "to be kept" if isinstance(step.action, Keep) else f"unknown: {step.why}"


def _copies(program: tuple[Any, ...]) -> bool:
    """Whether the program copies another tensor as it is."""
    return [line[0] for line in program] == ["tensor", "alias.default"]


def _memory(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    memory = torch.empty(shape, dtype=dtype, device="cpu")
    prefer_huge_pages(memory)
    return memory
