"""The kernels that plant marks in memory and look for those that are still there."""

from __future__ import annotations

from typing import Any

from fanin.random.kernels.addresses import array_at
from fanin.random.kernels.decorators import kernel


@kernel
def plant(addresses: Any, counts: Any, sizes: Any, marks: Any, step: int, first: int, last: int) -> None:
    """Write `marks[row]` to every `step`-th element and the last one of rows first … last−1.

    Memory is seen as 16-bit words, of which an element has `sizes[row]`.
    """
    for row in range(first, last):
        size = sizes[row]
        words = array_at(addresses[row], counts[row] * size, marks)
        for at in range(0, counts[row] + step, step):
            place = min(at, counts[row] - 1) * size
            for word in range(size):
                words[place + word] = marks[row, word]


@kernel
def survivors(
    addresses: Any, counts: Any, sizes: Any, marks: Any, step: int, found: Any, first: int, last: int
) -> None:
    """`found[row]` becomes the first element that still has its mark, or −1, for rows first … last−1."""
    for row in range(first, last):
        size = sizes[row]
        words = array_at(addresses[row], counts[row] * size, marks)
        found[row] = -1
        for at in range(0, counts[row] + step, step):
            place = min(at, counts[row] - 1)
            same = True
            for word in range(size):
                same = same and words[place * size + word] == marks[row, word]
            if same:
                found[row] = place
                break
