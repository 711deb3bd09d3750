"""Filling many small tensors in one call of a kernel, which costs less than a Python call for each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fanin.errors import ArgumentError
from fanin.random.many_laws import BATCHED, Laws, real_of
from fanin.random.stream import seeded
from fanin.random.threads import default_threads, run_shares


class Rows(NamedTuple):
    """Runs of consecutive elements of as many tensors; all arrays have one entry for each.

    Attributes:
        addresses: where in memory the first of them is written, uint64.
        counts: how many there are, int64.
        offsets: the flat index of the first within its logical tensor, int64.
        keys, lanes: of the tensor's `Stream`, uint64 and uint32.
    """

    addresses: NDArray[np.uint64]
    counts: NDArray[np.int64]
    offsets: NDArray[np.int64]
    keys: NDArray[np.uint64]
    lanes: NDArray[np.uint32]


def whole_rows(addresses: Sequence[int], counts: Sequence[int], keys: NDArray[np.uint64]) -> Rows:
    """Rows that are whole tensors, all at lane 0."""
    zeros = np.zeros(len(keys), np.int64)
    return Rows(np.array(addresses, np.uint64), np.array(counts, np.int64), zeros, keys, zeros.astype(np.uint32))


def keys_of(seed: int, names: Sequence[str]) -> NDArray[np.uint64]:
    """The key of `Stream.named(seed, name)` for each name.

    Raises:
        ArgumentError: the seed is not an integer from 0 to 2⁶⁴ − 1.

    >>> from fanin.random.stream import Stream
    >>> int(keys_of(0, ["w"])[0]) == Stream.named(0, "w").key
    True
    """
    empty = seeded(seed)
    digests: list[bytes] = []
    for name in names:
        digest = empty.copy()
        digest.update(name.encode())
        digests.append(digest.digest())
    return np.frombuffer(b"".join(digests), "<u8").astype(np.uint64)


def fill_many(stored: np.dtype[Any], laws: Laws, rows: Rows, *, threads: int | None = None) -> None:
    """Write the values of many runs of consecutive elements, each the bits that an ordinary fill gives them.

    Nothing is known of the memory but its address: the caller must have made sure that each address is that of
    `count` writable elements, aligned to their size, in no other row, and must keep them alive during the call.

    Args:
        stored: float32, float64, float16, or uint16 for bfloat16 bits: the dtype of all of them.
        laws: one law for each row.
        rows: where and what they are.
        threads: how many to use, by default `default_threads()`; they share the elements of all rows evenly.

    Raises:
        ArgumentError: a dtype that cannot be filled or that the laws were not made for, arrays of different lengths or
            dtypes, negative counts or offsets, or an address that is 0 or not aligned.

    >>> from fanin.random.many_laws import normal_laws
    >>> out = np.empty((2, 3), np.float32)
    >>> rows = whole_rows([out[0].ctypes.data, out[1].ctypes.data], [3, 3], keys_of(0, ["a", "b"]))
    >>> fill_many(out.dtype, normal_laws(np.float32, [0.0, 5.0], [1.0, 0.0]), rows)
    >>> out[1].tolist()
    [5.0, 5.0, 5.0]
    """
    count = default_threads() if threads is None else threads
    if count < 1:
        raise ArgumentError(f"threads must be at least 1, got {threads}")
    _check_rows(stored, laws, rows)
    ends = np.cumsum(rows.counts)
    if not ends.size or not ends[-1]:
        return
    like = np.empty(0, np.int16 if stored == np.float16 else stored)
    plain = Rows._make(map(np.ascontiguousarray, rows))  # other layouts would be compiled anew
    numbers = np.ascontiguousarray(laws.numbers)
    run_shares(partial(_compiled(), laws.kind, like, numbers, plain, ends), int(ends[-1]), count)


@cache
def _compiled() -> Callable[..., None]:
    from fanin.random.kernels.fill_many import fill_many

    return fill_many


def _check_rows(stored: np.dtype[Any], laws: Laws, rows: Rows) -> None:
    real = real_of(stored)
    too_coarse = real is np.float64 and not isinstance(laws.kind[0], np.float64)
    if type(laws.kind) not in BATCHED or too_coarse:
        raise ArgumentError(f"{type(laws.kind).__name__} laws cannot fill many rows of dtype {stored}")
    if laws.numbers.shape != (len(rows.counts), len(laws.kind)) or laws.numbers.dtype != np.float64:
        raise ArgumentError(f"{len(rows.counts)} rows need as many laws, got numbers of shape {laws.numbers.shape}")
    for name, array, dtype in zip(Rows._fields, rows, ("uint64", "int64", "int64", "uint64", "uint32"), strict=True):
        if array.dtype != dtype or array.shape != rows.counts.shape or array.ndim != 1:
            raise ArgumentError(f"{name} must be {len(rows.counts)} numbers of dtype {dtype}, got {array.dtype}")
    if (rows.counts < 0).any() or (rows.offsets < 0).any():
        raise ArgumentError("counts and offsets of rows must not be negative")
    places = rows.addresses[rows.counts > 0]
    if (places == 0).any() or (places % np.uint64(stored.itemsize)).any():
        raise ArgumentError(f"an address is 0 or not aligned to the {stored.itemsize} bytes of {stored}")
