"""How many threads, and which output positions each of them writes."""

from __future__ import annotations

import os
from collections.abc import Callable

from fanin.errors import ArgumentError
from fanin.random.pool import Shares, pool

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


def run_shares(work: Callable[[int, int], None], count: int, threads: int | None, *, per_item: int = 1) -> None:
    """Call work(first, last) so that the calls cover 0 … count−1 once, on up to `threads` threads.

    This thread works too, so that calls within calls and calls while others run end all the same. After an error in
    any share no other begins, those that run are waited for, and it is raised here.

    `threads` is `default_threads()` if None. `per_item` is how many normal values could be drawn in the time that one
    of the `count` items takes; work too small to share stays on this thread.
    """
    if count * per_item <= _MOST_ALONE:
        return work(0, count)
    threads = default_threads() if threads is None else threads
    if threads == 1:
        return work(0, count)
    share = max(_SMALLEST_SHARE // per_item, -(-count // (threads * _SHARES_PER_THREAD)), 1)
    if per_item == 1:  # whole blocks, and no cache line for two threads
        share = -(-share // _ALIGNMENT) * _ALIGNMENT
    parts = ((first, min(first + share, count)) for first in range(0, count, share))
    return Shares(work, parts).lead(pool(), min(threads, -(-count // share)) - 1)
