"""How many threads, and which output positions each of them writes."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from fanin.errors import ArgumentError

_MOST_ALONE = 1 << 20  # values, drawn in 0.6 ms; waking threads for fewer can take longer than it saves
_SMALLEST_SHARE = 1 << 17
_SHARES_PER_THREAD = 8
_ALIGNMENT = 64


def default_threads() -> int:
    """The environment variable FANIN_NUM_THREADS, or else the number of CPUs this process may use.

    Raises:
        ArgumentError: FANIN_NUM_THREADS is not a positive whole number.

    >>> default_threads() >= 1
    True
    """
    chosen = os.environ.get("FANIN_NUM_THREADS")
    if chosen is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not chosen.isdecimal() or int(chosen) == 0:
        raise ArgumentError(f"FANIN_NUM_THREADS must be a positive whole number, got {chosen!r}")
    return int(chosen)


def run_shares(work: Callable[[int, int], None], count: int, threads: int, *, per_item: int = 1) -> None:
    """Call work(first, last) so that the calls cover 0 … count−1 once, on up to `threads` threads.

    `per_item` is how many normal values could be drawn in the time that one of the `count` items takes; work too small
    to share stays on this thread.
    """
    share = max(_SMALLEST_SHARE // per_item, -(-count // (threads * _SHARES_PER_THREAD)), 1)
    if per_item == 1:  # whole blocks, and no cache line for two threads
        share = -(-share // _ALIGNMENT) * _ALIGNMENT
    if threads == 1 or count * per_item <= _MOST_ALONE:
        return work(0, count)
    starts = iter(range(0, count, share))

    def take_shares() -> None:
        for first in starts:
            work(first, min(first + share, count))

    with ThreadPoolExecutor(threads - 1) as pool:
        others = [pool.submit(take_shares) for _ in range(min(threads - 1, -(-count // share)))]
        take_shares()
        for other in others:
            other.result()
    return None
