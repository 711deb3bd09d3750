"""Race the tasks; what is finished stays in the store, so that the same command goes on from there."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from convergence.starts import racers
from convergence.task import Task
from fanin.race import Moment, RaceResult, compare

RESULT = "result.json"


@dataclass(frozen=True, slots=True)
class Raced:
    """A task with what its race found.

    Attributes:
        task: the task.
        result: of `compare`.
        anyinit: why AnyInit did not race, "" where it did.
    """

    task: Task
    result: RaceResult
    anyinit: str


def race(task: Task, seeds: int, store: Path, engine: str = "auto", pilots: int = 2) -> Raced:
    """All starts of one task; the result also as RESULT in the task's folder of the store."""
    folder = store / task.name
    starts, problem = racers(task)
    result = compare(
        task.model,
        task.load(),
        starts,
        seeds,
        settings=task.settings,
        pilots=pilots,
        engine=engine,
        store=folder / "runs",
        progress=_told(task.name),
    )
    (folder / RESULT).write_text(result.to_json(), encoding="utf-8")
    return Raced(task, result, problem)


def _told(name: str):
    """Progress in one line of the terminal, and nothing elsewhere."""

    def tell(moment: Moment) -> None:
        if sys.stderr.isatty():
            print(f"\r{name}: {moment.phase} {moment.done:.0%}  ", end="", file=sys.stderr, flush=True)

    return tell
