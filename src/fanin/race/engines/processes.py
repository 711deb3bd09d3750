"""Units in forked processes, each with threads of its own."""

from __future__ import annotations

import mmap
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from time import monotonic
from typing import Any

from fanin.errors import FaninError
from fanin.race.engines.forks import end, fork, portable
from fanin.race.engines.lanes import Progress
from fanin.race.engines.surroundings import surroundings
from fanin.race.engines.units import Task, Unit
from fanin.race.training import Trained

_PATIENCE = 30.0  # seconds for the last step of a process that is told to stop
_WATCH = 1.0  # seconds between two looks of an idle process at whether its parent is alive


def in_processes(task: Task, tell: Progress) -> Iterator[tuple[int, Trained]]:
    """Train in `workers` forked processes, which end with this one.

    Raises:
        FaninError: a process was killed; what the others train comes first.
    """
    stop = mmap.mmap(-1, 1)  # one byte that forked processes share
    waiting, lost = list(reversed(task.units())), list[str]()
    workers = [_Worker(*fork(_serve, task, stop)) for _ in range(min(task.method.workers, len(waiting)))]
    try:
        yield from _gathered(task, workers, waiting, lost, tell)
    except KeyboardInterrupt:
        stop[0] = 1
        deadline = monotonic() + _PATIENCE
        while (busy := [worker for worker in workers if worker.unit]) and monotonic() < deadline:
            for worker in _ready(busy, deadline - monotonic()):
                kind, what = worker.receive()
                if kind == "done":
                    yield what
        raise
    finally:
        for worker in workers:
            end(worker.process, worker.pipe)
        stop.close()
    if lost:
        raise FaninError("; ".join(lost))


@dataclass(slots=True, eq=False)
class _Worker:
    """A process, this end of the pipe to it, and what it is at."""

    process: ForkProcess
    pipe: Connection[Any, Any]
    unit: Unit | None = None

    def give(self, unit: Unit) -> None:
        """Let it train a unit."""
        self.unit = unit
        try:
            self.pipe.send(unit)
        except OSError:
            return  # it is dead, which the next receive finds

    def receive(self) -> tuple[str, Any]:
        """What it says next: ("told", …), ("done", result), ("free", None), ("failed", error), ("lost", exit code)."""
        try:
            kind, what = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            kind, what = "lost", self.process.exitcode
        if kind in ("free", "failed", "lost"):
            self.unit = None
        return kind, what


def _gathered(
    task: Task, workers: list[_Worker], waiting: list[Unit], lost: list[str], tell: Progress
) -> Iterator[tuple[int, Trained]]:
    """Results as they come; what was lost with a process is put into `lost`."""
    living = list(workers)
    while True:
        for worker in living:
            if worker.unit is None and waiting:
                worker.give(waiting.pop())
        busy = [worker for worker in living if worker.unit]
        if not busy:
            break
        for worker in _ready(busy, None):
            unit = worker.unit
            kind, what = worker.receive()
            if kind == "done":
                yield what
            elif kind == "told":
                tell(*what)
            elif kind == "failed":
                raise what
            elif kind == "lost":
                living.remove(worker)
                lost.append(_loss(task, unit or (), what))
    if waiting:
        lost.append(f"{sum(map(len, waiting))} lanes were not begun, for no process is left")


def _loss(task: Task, unit: Unit, code: int) -> str:
    lanes = "; ".join(str(task.lanes[index]) for index in unit)
    ended = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
    reason = ", perhaps for want of memory: try fewer workers" if code == -signal.SIGKILL else ""
    return f"the process that trained {lanes} {ended}{reason}"


def _ready(workers: list[_Worker], timeout: float | None) -> list[_Worker]:
    pipes = wait([worker.pipe for worker in workers], timeout)
    return [worker for worker in workers if worker.pipe in pipes]


def _serve(pipe: Connection[Any, Any], parent: int, task: Task, stop: mmap.mmap) -> None:
    """The life of a child: units come by the pipe, results go back."""

    def stopped() -> bool:
        return stop[0] != 0 or os.getppid() != parent

    def tell(lane: int, step: int, loss: float) -> None:
        pipe.send(("told", (lane, step, loss)))

    with surroundings(task.method.threads):
        while os.getppid() == parent:
            if not pipe.poll(_WATCH):
                continue
            try:
                unit = pipe.recv()
                for result in task.run(unit, stopped, tell):
                    pipe.send(("done", result))
                pipe.send(("free", None))
            except (EOFError, BrokenPipeError):
                return
            except BaseException as error:
                pipe.send(("failed", portable(error)))
