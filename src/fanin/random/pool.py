"""Threads that stay between calls, so that a fill does not wait for new ones to start.

The pool is the one thing here that outlives a call, and nobody sees it but `fanin.random.threads`. It holds no values
and no settings: only idle threads, which never keep the process alive, and which end by themselves when there has been
nothing to do for a while. A forked process has none of its parent's threads and so gets a pool of its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Condition, Lock, Thread

_IDLE = 10.0  # seconds


@dataclass(slots=True, eq=False)
class Shares:
    """Work in shares that any thread may take, led by the thread that asked for it."""

    work: Callable[[int, int], None] | None
    left: Iterator[tuple[int, int]]
    _helpers: int = 0
    _errors: list[BaseException] = field(default_factory=list)
    _changed: Condition = field(default_factory=lambda: Condition(Lock()))

    def lead(self, pool: Pool, helpers: int) -> None:
        """Do all shares with the help of idle threads.

        Raises:
            the first error of any share; the shares not yet begun are then left undone, and none is running.
        """
        try:
            pool.call(self, helpers)
            self._take()
        finally:
            self._end()
        if self._errors:
            raise self._errors.pop()

    def help(self) -> None:
        """Take shares until there are none; an error goes to the leader."""
        with self._changed:
            if self.work is None:
                return
            self._helpers += 1
        try:
            self._take()
        except BaseException as error:
            with self._changed:
                self.left = iter(())
                self._errors[:] = self._errors or [error]
        finally:
            with self._changed:
                self._helpers -= 1
                self._changed.notify_all()

    def _take(self) -> None:
        work = self.work
        while work is not None and (share := self._next()) is not None:
            work(*share)

    def _next(self) -> tuple[int, int] | None:
        with self._changed:
            return next(self.left, None)

    def _end(self) -> None:
        """Wait for the threads that are at a share; those that were called and have not come find nothing to do."""
        interrupt = None
        with self._changed:
            self.left = iter(())
            self.work = None  # lets go of its memory, though the pool may still know these shares
            while self._helpers:
                try:
                    self._changed.wait()
                except BaseException as error:  # Ctrl-C: they still write the caller's memory
                    interrupt = error
        if interrupt is not None:
            raise interrupt


@dataclass(slots=True, eq=False)
class Pool:
    """Threads that help wherever they are called."""

    idle: float = _IDLE
    threads: int = 0
    _calls: SimpleQueue[Shares] = field(default_factory=SimpleQueue)
    _lock: Lock = field(default_factory=Lock)

    def call(self, shares: Shares, helpers: int) -> None:
        """Ask `helpers` threads to take shares, starting those that are missing, or as many as the system allows."""
        with self._lock:
            while self.threads < helpers:
                try:
                    Thread(target=self._serve, name="fanin-share", daemon=True).start()
                except RuntimeError:  # the interpreter shuts down, or there are too many threads
                    break
                self.threads += 1
            for _ in range(min(helpers, self.threads)):
                self._calls.put(shares)

    def _serve(self) -> None:
        while True:
            try:
                self._calls.get(timeout=self.idle).help()
            except Empty:
                with self._lock:
                    if self._calls.empty():
                        self.threads -= 1
                        return


_pools: dict[int, Pool] = {}


def pool() -> Pool:
    """The pool of this process."""
    return _pools.setdefault(os.getpid(), Pool())
