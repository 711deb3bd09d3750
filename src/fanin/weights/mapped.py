"""A file whose bytes are mapped, not read, and watched for changes."""

from __future__ import annotations

import mmap
import os
import platform
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fanin.errors import WeightsError

_USUAL_MACHINES = ("x86_64", "aarch64")
_MAP_NORESERVE = 0x4000  # on these; Python names it from 3.13 on


class Handle:
    """An open file of the system, closed when nothing refers to it any more."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        close(self.number)


@dataclass(frozen=True, slots=True, eq=False)
class MappedFile:
    """The bytes of a file; what is not touched is not read, and writing to them changes memory only.

    Attributes:
        path: the file.
        data: its bytes.
    """

    path: Path
    data: NDArray[np.uint8]
    _map: mmap.mmap
    _handle: Handle
    _modified: int

    @classmethod
    def open(cls, path: str | Path) -> MappedFile:
        """Map a file.

        Raises:
            WeightsError: missing, a folder, a pipe or device, empty or unreadable.
        """
        try:
            # A pipe without a writer would block for ever.
            handle = Handle(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)))
            found = os.fstat(handle.number)
            check_regular(path, found)
            # O_NONBLOCK means nothing for regular files, the only ones that come this far.
            mapped = _map(handle.number)
        except FileNotFoundError:
            raise WeightsError("there is no such file", path=path) from None
        except (OSError, ValueError) as error:
            raise unreadable(error, path) from None
        return cls(Path(path), np.frombuffer(mapped, np.uint8), mapped, handle, found.st_mtime_ns)

    def current(self) -> NDArray[np.uint8]:
        """Its bytes, if they are still those that were opened.

        A file that another one replaced under its name (as fanin writes them) does not count as changed: the bytes that
        were opened stay. Nothing can help against a file that another program shortens while its bytes are in use: the
        system then ends the process.

        Raises:
            WeightsError: the file was shortened or written to since.
        """
        now = os.fstat(self._handle.number)
        if now.st_size < self.data.size:
            raise WeightsError(
                f"the file changed while it was read: it had {self.data.size:,} bytes, now {now.st_size:,}; "
                "open it again",
                path=self.path,
                offset=now.st_size,
            )
        if now.st_mtime_ns != self._modified:
            raise WeightsError("the file was written to while it was read; open it again", path=self.path)
        return self.data

    def begin_of(self, values: NDArray[Any]) -> int | None:
        """Where the bytes of an array begin in the file, if it is a view of its mapped bytes, in rows."""
        begin = values.__array_interface__["data"][0] - self.data.__array_interface__["data"][0]
        inside = begin >= 0 and begin + values.nbytes <= self.data.size
        return begin if inside and values.flags.c_contiguous else None

    def read_into(self, begin: int, out: NDArray[np.uint8]) -> None:
        """Copy bytes from `begin` on to `out`, without touching the pages that are mapped.

        Raises:
            WeightsError: the file was shortened since, or cannot be read.
        """
        if not hasattr(os, "preadv"):
            out[:] = self.current()[begin : begin + out.size]
            return
        done = 0
        while done < out.size:
            try:
                count = os.preadv(self._handle.number, [out.data[done:]], begin + done)
            except OSError as error:
                raise unreadable(error, self.path) from None
            if not count:
                self.current()
                raise WeightsError("the file ends before its tensors do", path=self.path, offset=begin + done)
            done += count

    def mapped_again(self) -> mmap.mmap:
        """A second mapping of the file, for reading only, that knows nothing of what was written to the first.

        Raises:
            WeightsError: the system refuses.
        """
        try:
            return _map(self._handle.number)
        except (OSError, ValueError) as error:
            raise unreadable(error, self.path) from None

    def release(self) -> None:
        """Give back the memory of what was touched; it is read from the file again when touched again."""
        if hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)


def _map(handle: int) -> mmap.mmap:
    """The bytes of an open file; writing to them changes memory only."""
    if sys.platform == "linux" and platform.machine() in _USUAL_MACHINES:
        # Else Linux refuses to map a file larger than its memory, although the pages can always be read again.
        protection = mmap.PROT_READ | mmap.PROT_WRITE
        return mmap.mmap(handle, 0, flags=mmap.MAP_PRIVATE | _MAP_NORESERVE, prot=protection)
    return mmap.mmap(handle, 0, access=mmap.ACCESS_COPY)


def check_regular(path: str | Path, found: os.stat_result) -> None:
    """Raise the error for what is not a file with bytes of its own."""
    if stat.S_ISDIR(found.st_mode):
        raise WeightsError("is a folder; name a weights file in it", path=path)
    if not stat.S_ISREG(found.st_mode):
        raise WeightsError("is a pipe, socket or device, not a file", path=path)
    if not found.st_size:
        raise WeightsError("the file is empty", path=path, offset=0)


def unreadable(error: OSError | ValueError, path: str | Path) -> WeightsError:
    """The error for a file that the system does not let us read; a name with a zero byte is a ValueError."""
    reason = error.strerror if isinstance(error, OSError) else None
    return WeightsError(f"cannot be read: {reason or error}", path=path)
