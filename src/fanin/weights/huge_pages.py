"""A file read through once from memory, where the system keeps its bytes in huge pages.

To map a page costs more than to read its bytes, unless 512 of them are mapped at a time: Linux does so where a file was
written, or read ahead, in large pieces, and nothing is faster. Everywhere else `MappedFile.read_into` is.
"""

from __future__ import annotations

import mmap
import sys
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fanin.weights.mapped import MappedFile

HUGE = 1 << 21  # bytes
GIVE_BACK: int = getattr(mmap, "MADV_DONTNEED", 0)
"""What to tell madvise about pages that are read; on Linux."""
_AT_ONCE = 1 << 16  # bytes that Linux maps at one touch where pages are small
_SAMPLES, _TOUCHES = 5, 4
_FEW = 2  # faults for those touches in a huge page: its own, and one of memory elsewhere


@dataclass(frozen=True, slots=True, eq=False)
class HugePages:
    """A second mapping of a file, whose pages are this process's own until they are given back."""

    file: MappedFile
    _map: mmap.mmap
    _data: NDArray[np.uint8]

    @classmethod
    def of(cls, file: MappedFile, begin: int, end: int) -> HugePages | None:
        """A mapping of a file if most of these bytes are in memory, in huge pages; None where they are not.

        Raises:
            WeightsError: the file was shortened or written to since it was opened.
        """
        first, last = -(-begin // HUGE), end // HUGE - 1
        if sys.platform != "linux" or last - first < _SAMPLES:
            return None
        file.current()
        mapped = file.mapped_again()
        found = cls(file, mapped, np.frombuffer(mapped, np.uint8))
        numbers = [first + (last - first) * sample // (_SAMPLES - 1) for sample in range(_SAMPLES)]
        return found if sum(map(found._is_huge, numbers)) > _SAMPLES // 2 else None

    @property
    def address(self) -> int:
        """Of the file's first byte."""
        return self._data.__array_interface__["data"][0]

    def _is_huge(self, number: int) -> bool:
        begin, before = number * HUGE, _faults()
        _touched = int(self._data[begin : begin + _TOUCHES * _AT_ONCE : _AT_ONCE].max())
        huge = _faults() - before <= _FEW
        self._map.madvise(GIVE_BACK, begin, HUGE)
        return huge


def _faults() -> int:
    """How often the system had to give this thread a page; one that came from a disk counts for many."""
    import resource  # not on all systems

    used = resource.getrusage(resource.RUSAGE_THREAD)
    return used.ru_minflt + (1 + _FEW) * used.ru_majflt
