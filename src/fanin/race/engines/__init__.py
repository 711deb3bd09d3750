"""Training many runs: one after another, in threads, in processes, or stacked into one model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from fanin.race.course import Course
from fanin.race.engines.lanes import Lane, Progress
from fanin.race.engines.method import ENGINES, Method
from fanin.race.engines.probe import Choice, choose
from fanin.race.engines.running import refuse, running
from fanin.race.engines.units import Task
from fanin.race.settings import Settings
from fanin.race.training import Trained

__all__ = ["ENGINES", "Choice", "Lane", "Method", "Progress", "choose_engine", "train_lanes"]


def choose_engine(
    lanes: Sequence[Lane], course: Course, settings: Settings, *, device: torch.device | str = "cpu"
) -> Choice:
    """The method that a short probe finds fastest for these lanes on this machine.

    `choice.method` is what `train_lanes` takes as its engine, so that a race that goes on later, or in several
    rounds, has one method. Work of less than two seconds is not probed.

    Args:
        lanes: what will be trained.
        course: data and objective.
        settings: of the training.
        device: where.
    """
    return choose(Task(lanes, course.to(device), settings, Method()))


def train_lanes(
    lanes: Sequence[Lane],
    course: Course,
    settings: Settings,
    *,
    engine: str | Method = "auto",
    progress: Progress | None = None,
    device: torch.device | str = "cpu",
) -> Iterator[tuple[int, Trained]]:
    """Train each lane once; results come as they are ready, in any order.

    A lane's result depends on the lane, the data, the settings and the method, and on no other lane: bit for bit on
    one machine for "sequential", "threads" and "processes", which also agree with each other; as far as float32 sums
    do for "stacked", whose kernels depend on the size of a group, and between methods. Random state, torch's threads
    and the default dtype are the caller's again when the iterator ends.

    Args:
        lanes: what to train; a lane that diverges stops there, and touches no other.
        course: data and objective.
        settings: batch size, optimizer, clipping, looks at the test data; each lane has its own steps and rate.
        engine: "auto" (the fastest in a short probe), the name of an engine, or the text of a `Method`; these are tried
            on two lanes first. A `Method` as `choose_engine` gives it has been tried: a net that makes much of every
            rounding could not pass again at other rates.
        progress: called now and then with a lane's number, its steps so far and its last loss.
        device: where to train; models and data are moved there.

    Yields:
        (number of the lane, its losses and looks). After Ctrl-C, lanes in work come as they stand, with `complete`
        False; then KeyboardInterrupt is raised.

    Raises:
        ArgumentError: a method that cannot train these lanes, or is none.
        FaninError: a process was killed; the others' results have come before.
        UnknownNameError: no engine of that name.
    """
    method = engine if isinstance(engine, Method) else Method() if engine == "auto" else Method.parse(engine)
    task = Task(lanes, course.to(device), settings, method)
    if lanes and isinstance(engine, str) and engine != "auto":
        refuse(task)
    return _trained(task, engine == "auto", progress or _untold)


def _trained(task: Task, automatic: bool, tell: Progress) -> Iterator[tuple[int, Trained]]:
    if not task.lanes:
        return
    if automatic:
        task = Task(task.lanes, task.course, task.settings, choose(task).method)
    yield from running(task, tell)


def _untold(lane: int, step: int, loss: float) -> None:
    """Nobody watches."""
