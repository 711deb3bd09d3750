"""From a method to the engine that runs it."""

from __future__ import annotations

from collections.abc import Iterator

from fanin.errors import ArgumentError
from fanin.race.engines.forks import why_not_fork
from fanin.race.engines.lanes import Progress
from fanin.race.engines.processes import in_processes
from fanin.race.engines.sequential import in_turn
from fanin.race.engines.threads import in_threads
from fanin.race.engines.trial import why_not_stacked, why_not_threads
from fanin.race.engines.units import Task
from fanin.race.training import Trained


def running(task: Task, tell: Progress) -> Iterator[tuple[int, Trained]]:
    """Train the lanes of a task by its method."""
    method = task.method
    if method.engine == "sequential" or (method.engine == "stacked" and method.workers == 1):
        return in_turn(task, tell)
    if method.engine == "threads":
        return in_threads(task, tell)
    return in_processes(task, tell)


def refuse(task: Task) -> None:
    """Raise where the method cannot train these lanes.

    Raises:
        ArgumentError: with the reason.
    """
    method = task.method
    reason = None
    if method.engine == "processes" or (method.engine == "stacked" and method.workers > 1):
        reason = why_not_fork(task.course.train[0].device)
    if reason is None and method.engine == "stacked":
        reason = why_not_stacked(task)
    if method.engine == "threads":
        reason = why_not_threads(task)
    if reason is not None:
        raise ArgumentError(f"engine {str(method)!r} cannot train this model: {reason}; take 'auto' or 'sequential'")
