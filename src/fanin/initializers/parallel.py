"""The same call for many items, on several threads."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Protocol


class Each(Protocol):
    """A `map` that returns a list."""

    def __call__(self, task: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]: ...


@contextmanager
def workers(count: int) -> Generator[Each]:
    """A `map` on `count` threads: tasks start in the order of their items, results come in that order.

    >>> with workers(2) as each:
    ...     each(abs, [-1, 2, -3])
    [1, 2, 3]
    """
    if count == 1:
        yield lambda task, items: [task(item) for item in items]
        return
    with ThreadPoolExecutor(count) as pool:
        yield lambda task, items: list(pool.map(task, items))
