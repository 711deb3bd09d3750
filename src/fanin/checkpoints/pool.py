"""Threads that fill slabs and write them, each on its own: while one waits for the disk, others draw."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from queue import SimpleQueue
from threading import Event, Lock

import numpy as np
import torch

from fanin.checkpoints.layout import Shard
from fanin.checkpoints.slabs import SLAB, Slab, slabs_of
from fanin.checkpoints.sources import Source
from fanin.checkpoints.targets import Target

Job = tuple[Shard, Target]
_WAITING = 2  # threads beside those that draw, as some always wait for the disk


@dataclass(slots=True, eq=False)
class _Open:
    """A file of which slabs are still to come."""

    target: Target
    left: int
    lock: Lock = field(default_factory=Lock)

    def took(self) -> bool:
        """Count a slab; whether it was the last."""
        with self.lock:
            self.left -= 1
            return self.left == 0


def fill_targets(
    jobs: Sequence[Job], source: Callable[[str], Source], threads: int, report: Callable[[int], None]
) -> None:
    """Give every target all slabs of its shard, and finish it.

    Args:
        jobs: shards and where they go, in order.
        source: of a tensor's values, by name.
        threads: how many draw.
        report: called on this thread with the size of each slab that is done.

    Raises:
        the first error of any thread, and what `report` raises; targets not yet finished are then abandoned.
    """
    run = _Run(source)
    items = run.items(jobs)
    count = min(threads + _WAITING, sum(_slab_count(shard) for shard, _ in jobs))
    try:
        with ThreadPoolExecutor(max(count, 1), thread_name_prefix="fanin-write") as pool:
            try:
                for _ in range(count):
                    pool.submit(run.work, items)
                run.listen(count, report)
            finally:
                run.stop.set()
    finally:
        for target in run.open.values():
            target.abandon()


@dataclass(slots=True, eq=False)
class _Run:
    source: Callable[[str], Source]
    stop: Event = field(default_factory=Event)
    open: dict[int, Target] = field(default_factory=dict)
    _events: SimpleQueue[int | BaseException | None] = field(default_factory=SimpleQueue)
    _lock: Lock = field(default_factory=Lock)

    def items(self, jobs: Sequence[Job]) -> Iterator[tuple[_Open, Slab]]:
        """All slabs in order; a file is opened when its first slab is taken."""
        for shard, target in jobs:
            self.open[id(target)] = target
            target.open()
            opened = _Open(target, _slab_count(shard))
            for slab in slabs_of(shard, self.source):
                yield opened, slab

    def work(self, items: Iterator[tuple[_Open, Slab]]) -> None:
        """Take slabs until there are none; what goes wrong is told to the thread that listens."""
        try:
            memory = _slab_memory()
            while (item := self._next(items)) is not None:
                opened, slab = item
                slab.fill(memory)
                opened.target.put(memory, slab.offset, slab.size)
                if opened.took():
                    opened.target.finish()
                    self.open.pop(id(opened.target))
                self._events.put(slab.size)
            self._events.put(None)
        except BaseException as error:
            self._events.put(error)

    def listen(self, workers: int, report: Callable[[int], None]) -> None:
        """Report what is done until all workers have ended."""
        while workers:
            event = self._events.get()
            if isinstance(event, BaseException):
                raise event
            if event is None:
                workers -= 1
            else:
                report(event)

    def _next(self, items: Iterator[tuple[_Open, Slab]]) -> tuple[_Open, Slab] | None:
        if self.stop.is_set():
            return None
        with self._lock:
            return next(items, None)


def _slab_count(shard: Shard) -> int:
    return -(-shard.size // SLAB)


def _slab_memory() -> torch.Tensor:
    """A slab that begins at a page, as writing past the page cache needs it."""
    return torch.from_numpy(np.frombuffer(mmap.mmap(-1, SLAB), np.uint8))
