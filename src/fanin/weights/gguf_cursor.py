"""Reading GGUF's numbers, texts and metadata values from bytes, never past the end."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from fanin.errors import WeightsError
from fanin.weights.gguf_codes import ARRAY, BOOL, NUMBERS, STRING


class Cursor:
    """A position in a GGUF file that moves as values are read.

    Every count that the file claims is held against the bytes that are left before anything is allocated for it.
    """

    def __init__(self, path: str | Path, data: NDArray[np.uint8]) -> None:
        self.path = path
        self.data = data
        self.offset = 0
        self._view = data.data  # cut several times faster than the array

    def fail(self, message: str, offset: int | None = None) -> NoReturn:
        """Raise the error for what stands at `offset` (default: here)."""
        raise WeightsError(message, path=self.path, offset=self.offset if offset is None else offset)

    def take(self, count: int, what: str) -> bytes:
        """The next `count` bytes."""
        left = self.data.size - self.offset
        if count > left:
            self.fail(f"truncated or damaged: {what} needs {count:,} bytes, {left:,} are left")
        start, self.offset = self.offset, self.offset + count
        return self._view[start : self.offset].tobytes()

    def number(self, code: str, what: str) -> Any:
        """The next number, written as `struct` code `code`."""
        return struct.unpack(code, self.take(struct.calcsize(code), what))[0]

    def count(self, what: str, least_bytes: int) -> int:
        """The next 64-bit count of things that take at least so many bytes each."""
        at, count = self.offset, self.number("<Q", f"the number of {what}")
        left = self.data.size - self.offset
        if count * least_bytes > left:
            self.fail(f"truncated or damaged: it claims {count:,} {what}, only {left:,} bytes are left", at)
        return count

    def text(self, what: str) -> str:
        """The next text: its length in bytes, then UTF-8."""
        length = self.number("<Q", f"the length of {what}")
        at, encoded = self.offset, self.take(length, what)
        try:
            return encoded.decode()
        except UnicodeDecodeError:
            self.fail(f"{what} is not UTF-8 text", at)

    def value(self, what: str) -> Any:
        """The next metadata value, its type first."""
        kind = self.number("<I", f"the type of {what}")
        return self._array(what) if kind == ARRAY else self._scalar(kind, what)

    def _scalar(self, kind: int, what: str) -> Any:
        if kind == STRING:
            return self.text(what)
        if kind == BOOL:
            return self.number("<B", what) != 0
        if kind not in NUMBERS:
            self.fail(f"{what} has the unknown type {kind}", self.offset - 4)
        return self.number(NUMBERS[kind], what)

    def _array(self, what: str) -> list[Any]:
        kind = self.number("<I", f"the item type of {what}")
        if kind == STRING:
            return [self.text(what) for _ in range(self.count(f"items of {what}", 8))]
        if kind != BOOL and kind not in NUMBERS:
            self.fail(f"{what} is an array of the unknown type {kind}", self.offset - 4)
        code = NUMBERS.get(kind, "<?")
        size = struct.calcsize(code)
        count = self.count(f"items of {what}", size)
        return np.frombuffer(self.take(count * size, what), code).tolist()
