"""How many threads, and which output positions each of them writes."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from fanin.errors import ArgumentError

_SMALLEST_SHARE = 1 << 16
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


def run_shares(work: Callable[[int, int], None], count: int, threads: int) -> None:
    """Call work(first, last) so that the calls cover 0 … count−1 once, on up to `threads` threads."""
    share = max(_SMALLEST_SHARE, -(-count // (threads * _SHARES_PER_THREAD)))
    share = -(-share // _ALIGNMENT) * _ALIGNMENT
    if threads == 1 or count <= share:
        return work(0, count)
    starts = range(0, count, share)
    with ThreadPoolExecutor(min(threads, len(starts))) as pool:
        for done in [pool.submit(work, first, min(first + share, count)) for first in starts]:
            done.result()
    return None
