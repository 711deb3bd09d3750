"""Reading files to where their bytes go, or only to look at them, by all threads; none of their pages stays."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fanin.random.threads import default_threads, run_shares
from fanin.torch.stretches import Bytes, Look, Read, bytes_of
from fanin.weights.huge_pages import GIVE_BACK, HUGE, HugePages
from fanin.weights.mapped import MappedFile

WINDOW, WIDEST = HUGE, 4 * HUGE  # bytes of a file that a thread maps at a time, whole huge pages of it
CHUNK = 1 << 18  # bytes of it that are read at a time: they are still in the cache when they are looked at
_AT_ONCE = 1 << 25  # bytes that a thread takes before it looks up: is the file unchanged, was it interrupted?
_DRAWN_MEANWHILE = 3  # bits by which there are fewer normal values than bytes in the same time

Numbers = NDArray[np.int64]
Addresses = NDArray[np.uint64]


class Parts(NamedTuple):
    """What windows of a file have of reads.

    Attributes:
        numbers: the read of each part, among all.
        begins, ends: its bytes in the file.
    """

    numbers: Numbers
    begins: Numbers
    ends: Numbers


Told = Callable[[Parts], None]


class _Table(NamedTuple):
    """The arguments of the kernel for each part, in the order of `read_windows`, and the signs to look for."""

    sources: Addresses
    targets: Addresses
    sizes: Addresses
    exponents: Addresses
    units: Addresses
    found: Addresses
    signs: Addresses

    @classmethod
    def of(cls, reads: Sequence[Read], parts: Parts, base: int) -> _Table:
        """The table of parts of a file that is mapped from address `base` on."""
        numbers, begins, ends = parts
        rows = np.array([_row(read) for read in reads], np.uint64)[numbers].T.copy()
        starts, outs, exponents, units, signs = rows
        places = begins.astype(np.uint64)
        targets = np.where(outs > 0, outs + places - starts, 0).astype(np.uint64)
        sizes = (ends - begins).astype(np.uint64)
        return cls(places + np.uint64(base), targets, sizes, exponents, units, np.zeros_like(units), signs)


@dataclass(frozen=True, slots=True, eq=False)
class Reads:
    """Reads of one file, cut to windows that each are read once.

    Attributes:
        reads: among which they are.
        file: the file.
        parts: of all windows, in the order of the file.
        windows: the numbers of the windows.
        firsts: where the parts of each window begin, and where those of the last one end.
        size: bytes of a window.
    """

    reads: Sequence[Read]
    file: MappedFile
    parts: Parts
    windows: Numbers
    firsts: Numbers
    size: int
    _huge: HugePages | None
    _table: _Table | None

    @classmethod
    def of(cls, reads: Sequence[Read], tensor: int) -> list[Reads]:
        """Those of each file, in windows so large that all threads map about the largest tensor of `tensor` bytes.

        Raises:
            WeightsError: a file was shortened or written to since it was opened.
        """
        size = min(max(tensor // default_threads() // HUGE * HUGE, WINDOW), WIDEST)
        found: dict[MappedFile, list[int]] = {}
        for number, read in enumerate(reads):
            if read.stretch.nbytes:
                found.setdefault(read.stretch.file, []).append(number)
        return [cls.of_file(reads, numbers, size, _huge(reads, numbers)) for numbers in found.values()]

    @classmethod
    def of_file(cls, reads: Sequence[Read], numbers: Sequence[int], size: int, huge: HugePages | None) -> Reads:
        """Those of the reads that have these numbers, which are of one file."""
        whole = Parts(
            np.array(numbers, np.int64),
            np.array([reads[number].stretch.begin for number in numbers], np.int64),
            np.array([reads[number].stretch.end for number in numbers], np.int64),
        )
        parts, windows, firsts = _cut(whole, size)
        table = None if huge is None else _Table.of(reads, parts, huge.address)
        return cls(reads, reads[numbers[0]].stretch.file, parts, windows, firsts, size, huge, table)

    def cut(self, most: int) -> Iterator[Reads]:
        """The same, in batches of about `most` bytes."""
        step = max(most // self.size, 1)
        for first in range(0, len(self.windows), step):
            last = first + step
            yield replace(self, windows=self.windows[first:last], firsts=self.firsts[first : last + 1])

    def run(self, threads: int | None = None, begun: Told | None = None, done: Told | None = None) -> None:
        """Read all windows.

        Args:
            threads: how many may.
            begun, done: called before and after some parts of windows, by the thread that reads them.

        Raises:
            WeightsError: a file was shortened or written to, or cannot be read.
        """
        step = max(_AT_ONCE // self.size, 1)

        def work(first: int, last: int) -> None:
            for at in range(first, last, step):
                windows = slice(at, min(at + step, last))
                rows = slice(int(self.firsts[windows.start]), int(self.firsts[windows.stop]))
                parts = Parts(*(each[rows] for each in self.parts))
                if begun is not None:
                    begun(parts)
                if self._huge is None or self._table is None:
                    self._fetch(parts)
                else:
                    self._read(self._huge, self._table, windows, rows)
                if done is not None:
                    done(parts)

        run_shares(work, len(self.windows), threads, per_item=self.size >> _DRAWN_MEANWHILE)

    def _read(self, huge: HugePages, table: _Table, windows: slice, rows: slice) -> None:
        """Use bytes that are mapped in huge pages, which are given back."""
        from fanin.torch.reading_kernel import read_windows

        self.file.current()
        sources, targets, sizes, exponents, units, found, signs = (each[rows] for each in table)
        pages = self.windows[windows] * self.size
        lengths = np.minimum(self.size, self.file.data.size - pages)
        firsts = self.firsts[windows.start : windows.stop + 1] - rows.start
        places = (pages + huge.address).astype(np.uint64)
        given = firsts, places, lengths.astype(np.uint64), GIVE_BACK
        read_windows(sources, targets, sizes, exponents, units, found, *given)
        for number in self.parts.numbers[rows][(found & signs) != 0].tolist():
            look = self.reads[number].look
            if look is not None:
                look.refuse()

    def _fetch(self, parts: Parts) -> None:
        """Use bytes that must be read first."""
        room = np.empty(CHUNK, np.uint8)
        for number, begin, end in zip(*(each.tolist() for each in parts), strict=True):
            read = self.reads[number]
            start = begin - read.stretch.begin
            out = None if read.out is None else bytes_of(read.out)[start : start + end - begin]
            if read.look is not None:
                self._show(read.look, begin, end, out, room)
            elif out is not None:
                self.file.read_into(begin, out)

    def _show(self, look: Look, begin: int, end: int, out: Bytes | None, room: Bytes) -> None:
        for at in range(begin, end, CHUNK):
            first, size = at - begin, min(CHUNK, end - at)
            run = room[:size] if out is None else out[first : first + size]
            self.file.read_into(at, run)
            look.look(run)


def look_through(run: Bytes, look: Look) -> None:
    """Show all of a run in memory, by all threads."""

    def work(first: int, last: int) -> None:
        for number in range(first, last):
            look.look(run[number * WINDOW : (number + 1) * WINDOW])

    run_shares(work, -(-run.size // WINDOW), None, per_item=WINDOW >> _DRAWN_MEANWHILE)


def _huge(reads: Sequence[Read], numbers: Sequence[int]) -> HugePages | None:
    stretches = [reads[number].stretch for number in numbers]
    return HugePages.of(stretches[0].file, min(each.begin for each in stretches), max(each.end for each in stretches))


def _row(read: Read) -> tuple[Any, ...]:
    """Where it begins and goes to, and the numbers of its look."""
    look, out = read.look, 0 if read.out is None else read.out.data_ptr()
    return read.stretch.begin, out, *((0, 0, 0) if look is None else (look.exponents, look.units, look.signs))


def _cut(whole: Parts, size: int) -> tuple[Parts, Numbers, Numbers]:
    """The parts cut at every multiple of `size`; the windows they lie in, and where each one's parts begin and end."""
    lows = whole.begins // size
    counts = (whole.ends - 1) // size - lows + 1
    rows = np.repeat(np.arange(counts.size), counts)
    windows = lows[rows] + np.arange(rows.size) - np.repeat(np.cumsum(counts) - counts, counts)
    order = np.argsort(windows, kind="stable")
    rows, windows = rows[order], windows[order]
    begins = np.maximum(whole.begins[rows], windows * size)
    ends = np.minimum(whole.ends[rows], (windows + 1) * size)
    firsts = np.flatnonzero(np.diff(windows, prepend=-1, append=-1))
    return Parts(whole.numbers[rows], begins, ends), windows[firsts[:-1]], firsts
