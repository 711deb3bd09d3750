"""Whether the values of tensors in files are finite, by their bits, as they are read."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray

from fanin.torch.reads import Reads
from fanin.torch.stretches import Bytes, Read, Stretch, joined

_WORD = 8
_EXPONENTS = {
    torch.float16: (0x7C00, 0x0400, 0x8000),
    torch.bfloat16: (0x7F80, 0x0080, 0x8000),
    torch.float32: (0x7F800000, 0x00800000, 0x80000000),
    torch.float64: (0x7FF0 << 48, 0x0010 << 48, 0x8000 << 48),
}
"""For each dtype the bits of the exponent, all of them set in NaN and infinities, the last of them, and the sign."""
DTYPES = frozenset(_EXPONENTS)


def _words(dtype: torch.dtype) -> tuple[np.uint64, ...]:
    """The same for a whole word of values."""
    copies = _WORD // dtype.itemsize
    repeat = sum(1 << (64 // copies * place) for place in range(copies))
    exponents, units, signs = (np.uint64(bits * repeat) for bits in _EXPONENTS[dtype])
    return exponents, units, signs


_BITS = {dtype: _words(dtype) for dtype in _EXPONENTS}


class Finite:
    """Looks at runs of bytes, in any thread, for a value of one dtype that is not finite.

    Attributes:
        all_finite: whether there was none so far.
    """

    __slots__ = ("all_finite", "exponents", "signs", "units")

    def __init__(self, dtype: torch.dtype) -> None:
        self.exponents, self.units, self.signs = _BITS[dtype]
        self.all_finite = True

    def look(self, run: Bytes) -> None:
        """Look at whole values, which begin at a multiple of their size in memory."""
        from fanin.loading.finite_kernel import find_not_finite

        before = min(-_address(run) % _WORD, run.size)
        after = before + (run.size - before) // _WORD * _WORD
        found = np.zeros(1, np.uint64)
        find_not_finite(run[before:after].view(np.uint64), self.exponents, self.units, found)
        self._judge(found)
        self._look_at_ends(run[:before], run[after:])

    def refuse(self) -> None:
        """One was found."""
        self.all_finite = False

    def _look_at_ends(self, *runs: Bytes) -> None:
        """Look at less than a word, in new memory that it need not fill."""
        from fanin.loading.finite_kernel import find_not_finite

        for run in runs:
            if run.size:
                word, found = np.zeros(_WORD, np.uint8), np.zeros(1, np.uint64)
                word[: run.size] = run
                find_not_finite(word.view(np.uint64), self.exponents, self.units, found)
                self._judge(found)

    def _judge(self, found: NDArray[np.uint64]) -> None:
        if found[0] & self.signs:
            self.refuse()


def all_finite(stored: Iterable[tuple[Stretch, torch.dtype]]) -> bool:
    """Whether all values of some tensors in files are finite; they are read once, by all threads.

    Args:
        stored: their bytes and one of `DTYPES`.

    Raises:
        WeightsError: a file changed, or cannot be read.
    """
    by_dtype: dict[torch.dtype, list[Stretch]] = {}
    for stretch, dtype in stored:
        by_dtype.setdefault(dtype, []).append(stretch)
    looks = {dtype: Finite(dtype) for dtype in by_dtype}
    largest = max((each.nbytes for stretches in by_dtype.values() for each in stretches), default=0)
    reads = [Read(run, None, looks[dtype]) for dtype, stretches in by_dtype.items() for run in joined(stretches)]
    for each in Reads.of(reads, largest):
        each.run()
    return all(look.all_finite for look in looks.values())


def _address(run: Bytes) -> int:
    return run.__array_interface__["data"][0]
