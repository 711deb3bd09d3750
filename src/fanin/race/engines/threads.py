"""Units in threads; torch's operations let go of Python's lock."""

from __future__ import annotations

from collections.abc import Iterator
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any

import torch

from fanin.race.engines.lanes import Progress
from fanin.race.engines.surroundings import surroundings
from fanin.race.engines.units import Task, Unit
from fanin.race.training import Trained


def in_threads(task: Task, tell: Progress) -> Iterator[tuple[int, Trained]]:
    """Train in `workers` threads. torch's number of threads is that of the method until all is done."""
    with surroundings(task.method.threads):
        yield from _gathered(task, tell)


def _gathered(task: Task, tell: Progress) -> Iterator[tuple[int, Trained]]:
    said: SimpleQueue[tuple[str, Any]] = SimpleQueue()
    stop, units = Event(), iter(task.units())
    workers = [Thread(target=_work, args=(task, units, said, stop)) for _ in range(task.method.workers)]
    for worker in workers:
        worker.start()
    left = len(workers)
    try:
        while left:
            kind, what = said.get()
            left -= kind == "left"
            if kind == "failed":
                raise what
            if kind == "done":
                yield what
            elif kind == "told":
                tell(*what)
    except KeyboardInterrupt:
        stop.set()
        while left:
            kind, what = said.get()
            left -= kind == "left"
            if kind == "done":
                yield what
        raise
    finally:
        stop.set()
        for worker in workers:
            worker.join()


def _work(task: Task, units: Iterator[Unit], said: SimpleQueue[tuple[str, Any]], stop: Event) -> None:
    def tell(lane: int, step: int, loss: float) -> None:
        said.put(("told", (lane, step, loss)))

    try:
        torch.set_num_threads(task.method.threads)
        # A list's iterator is safe to share: one step of it is one operation under Python's lock.
        for unit in units:
            if stop.is_set():
                return
            for result in task.run(unit, stop.is_set, tell):
                said.put(("done", result))
    except BaseException as error:
        said.put(("failed", error))
    finally:
        said.put(("left", None))
