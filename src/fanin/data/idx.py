"""Yann LeCun's IDX files, gzipped or not: every size checked before memory is taken for it."""

from __future__ import annotations

import gzip
import zlib
from math import prod
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fanin.data.needs import Progress, silent
from fanin.errors import DataError

UNSIGNED_BYTES = 0x08
_GZIP = b"\x1f\x8b"
_CHUNK = 1 << 20
_MOST_DIMENSIONS = 4
_DEFLATE = 1032  # deflate cannot shrink more: 258 bytes in two bits


class Readable(Protocol):
    """A file of bytes, gzipped or not."""

    def read(self, size: int = -1, /) -> bytes:
        """At most so many bytes."""
        ...


def read_idx(path: Path, dimensions: int, progress: Progress = silent) -> NDArray[np.uint8]:
    """The array of bytes in an IDX file.

    The header (two zeros, the type, the number of dimensions, each extent as 32 bits, big-endian) is checked against
    the size of the file, and against what gzip can make of it, before memory is taken; then the data must end exactly
    where the header says.

    Args:
        path: the file.
        dimensions: how many the array must have: 3 for images [n, rows, columns], 1 for labels [n].
        progress: called with (bytes read, bytes in all).

    Raises:
        DataError: the file cannot be read, is no IDX file of bytes, has other dimensions, or its length is wrong.

    Source: LeCun, Cortes, Burges, "The MNIST database of handwritten digits", section "file formats".
    """
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == _GZIP
            raw.seek(0)
            limit = path.stat().st_size * (_DEFLATE if packed else 1)
            if not packed:
                return _read(path, raw, dimensions, limit, progress)
            with gzip.GzipFile(fileobj=raw) as unpacked:
                return _read(path, unpacked, dimensions, limit, progress)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: cannot be read as an IDX file ({reason})") from None


def _read(path: Path, file: Readable, dimensions: int, limit: int, progress: Progress) -> NDArray[np.uint8]:
    shape = _header(path, file, dimensions)
    total = prod(shape)
    if total > limit:
        raise DataError(
            f"{path}: the header tells of an array {_shown(shape)}, {total:,} bytes, and the file holds at most "
            f"{limit:,}: it is damaged"
        )
    data = bytearray()
    while len(data) <= total and (chunk := file.read(min(_CHUNK, total + 1 - len(data)))):
        data += chunk
        progress(min(len(data), total), total)
    if len(data) != total:
        found = "more" if len(data) > total else f"only {len(data):,}"
        raise DataError(f"{path}: an array {_shown(shape)} takes {total:,} bytes, and the file has {found}")
    return np.frombuffer(data, np.uint8).reshape(shape)


def _header(path: Path, file: Readable, dimensions: int) -> tuple[int, ...]:
    magic = file.read(4)
    wanted = bytes((0, 0, UNSIGNED_BYTES, dimensions))
    if len(magic) == 4 and magic[:3] == wanted[:3] and 1 <= magic[3] <= _MOST_DIMENSIONS and magic != wanted:
        raise DataError(f"{path}: an IDX file of {magic[3]} dimensions where {dimensions} are needed: is it another's?")
    if magic != wanted:
        raise DataError(
            f"{path}: no IDX file of bytes: it starts with {magic.hex(' ') or 'nothing'} where {wanted.hex(' ')} is due"
        )
    extents = file.read(4 * dimensions)
    if len(extents) != 4 * dimensions:
        raise DataError(f"{path}: the file ends inside its header")
    shape = tuple(map(int, np.frombuffer(extents, ">u4")))
    if not all(shape):
        raise DataError(f"{path}: the header tells of an empty array {_shown(shape)}")
    return shape


def _shown(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))
