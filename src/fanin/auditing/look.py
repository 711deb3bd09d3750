"""One read of a tensor: its numbers, and a hash of each of its units, in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fanin.auditing.kernel import hash_columns, hash_rows, look
from fanin.auditing.numbers import NOTHING, Numbers
from fanin.random.threads import run_shares

_PIECE = 1 << 17  # values that are widened to float32 at a time
_WIDTH = 1 << 12  # of the rows that a tensor without units is read in
_TINY = {  # 2⁻¹⁴, 2⁻⁶
    torch.float16: np.uint32(0x38800000),
    torch.float8_e5m2: np.uint32(0x38800000),
    torch.float8_e4m3fn: np.uint32(0x3C800000),
}
_NORMAL = np.uint32(0x00800000)  # the least normal float32 and bfloat16
_BELOW, _SIGN = 0x7FFFFFFF, 31


@dataclass(frozen=True, slots=True, eq=False)
class Looked:
    """What one read found.

    Attributes:
        numbers: of all values.
        hashes: one for each unit, where units were asked for.
        seconds: Σx² of each row of the matrix that was read.
    """

    numbers: Numbers
    hashes: NDArray[np.uint64]
    seconds: NDArray[np.float64]


def looked(tensor: Tensor, columns_are_units: bool = False) -> Looked:
    """Read a tensor once, all cores at it.

    Args:
        tensor: dense, with values; of shape [rows, columns] where units are asked for, else of any shape.
        columns_are_units: the units are its columns, not its rows.

    >>> seen = looked(torch.tensor([[1.0, -2.0], [0.0, 1.0], [1.0, -2.0]]))
    >>> seen.numbers.mean, seen.numbers.zeros, bool(seen.hashes[0] == seen.hashes[2] != seen.hashes[1])
    (-0.16666666666666666, 1, True)
    """
    values = _plain(tensor.detach())
    if tensor.ndim == 2 and values.ndim == 2:
        return _matrix(values, columns_are_units)
    flat = values.reshape(-1)
    whole = flat.numel() // _WIDTH * _WIDTH
    parts = [piece for piece in (flat[:whole].view(-1, _WIDTH), flat[whole:].view(1, -1)) if piece.numel()]
    found = [_matrix(part, columns_are_units=False) for part in parts]
    numbers = sum((part.numbers for part in found), NOTHING)
    return Looked(numbers, np.empty(0, np.uint64), np.empty(0))


def _plain(tensor: Tensor) -> Tensor:
    """The values as real numbers of a floating-point dtype, on the CPU, in rows."""
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor.resolve_conj()).flatten(-2) if tensor.ndim else torch.view_as_real(tensor)
    if not tensor.is_floating_point():
        tensor = tensor.double()
    return tensor.cpu().contiguous()


def _matrix(values: Tensor, columns_are_units: bool) -> Looked:
    rows, columns = values.shape
    units = columns if columns_are_units else rows
    hashes, seconds = np.zeros(units, np.uint64), np.zeros(rows)
    if not values.numel():
        return Looked(NOTHING, hashes, seconds)
    pieces: dict[int, Numbers] = {}
    sums: dict[int, NDArray[np.uint32]] = {}

    def share(first: int, last: int) -> None:
        step = max(1, _PIECE // columns)
        ones = np.zeros((2, columns if columns_are_units else 0), np.uint32)
        for begin in range(first, last, step):
            end = min(begin + step, last)
            part = hashes[begin:end] if not columns_are_units else hashes[:0]
            bits, pieces[begin] = _piece(values[begin:end], part, seconds[begin:end])
            if columns_are_units:
                keys = _keys(rows * (bits.size // (columns * (end - begin))))
                wide = bits.reshape(end - begin, columns, -1)
                for word in range(wide.shape[2]):  # a float64 has two
                    hash_columns(
                        np.ascontiguousarray(wide[:, :, word]).reshape(-1),
                        columns,
                        keys[word * rows + begin : word * rows + end],
                        ones[0],
                        ones[1],
                    )
        sums[first] = ones

    run_shares(share, rows, None, per_item=columns)
    if columns_are_units:
        together: NDArray[np.uint64] = np.stack(list(sums.values())).sum(axis=0, dtype=np.uint32).astype(np.uint64)
        hashes[:] = (together[0] << np.uint64(32)) | together[1]
    numbers = sum((pieces[begin] for begin in sorted(pieces)), NOTHING)
    places = _keys(units).astype(np.uint64) | np.uint64(1)
    bits = int(np.sum((hashes ^ (hashes >> np.uint64(29))) * places, dtype=np.uint64))
    return Looked(replace(numbers, bits=bits), hashes, seconds)


def _piece(
    values: Tensor, hashes: NDArray[np.uint64], seconds: NDArray[np.float64]
) -> tuple[NDArray[np.uint32], Numbers]:
    """The bits of some rows, and their numbers; hashes (where there is room) and Σx² of the rows are written."""
    columns = values.shape[1]
    if values.dtype is torch.float64:
        bits = values.numpy().reshape(-1).view(np.uint32)
        if hashes.size:
            hash_rows(bits, 2 * columns, _keys(2 * columns), hashes)
        return bits, _slowly(values, _NORMAL, seconds)
    single = values.float().numpy().reshape(-1)
    bits = single.view(np.uint32)
    sums, counts, extremes = np.zeros(4), np.zeros(4, np.int64), np.array([_BELOW, -_BELOW], np.int32)
    tiny = _TINY.get(values.dtype, _NORMAL)
    look(single, bits, single.view(np.int32), _keys(columns), columns, tiny, hashes, seconds, sums, counts, extremes)
    if counts[3]:
        return bits, _slowly(values, tiny, seconds)
    low, high = (_value(int(place)) for place in extremes)
    zeros, small, huge, _ = map(int, counts)
    first, second, third, fourth = map(float, sums)
    return bits, Numbers(values.numel(), (first, second, third, fourth), low, high, zeros, small - zeros, huge)


def _slowly(values: Tensor, tiny: Any, seconds: NDArray[np.float64]) -> Numbers:
    """The numbers of values that the kernel cannot add up: float64, and those that are not finite."""
    wide = values.double()
    finite = wide.isfinite()
    nan = int(wide.isnan().sum())
    kept = wide.where(finite, 0.0)
    seconds[:] = kept.square().sum(dim=1).numpy()
    least = float(np.uint32(tiny).view(np.float32)) if values.dtype is not torch.float64 else 2.0**-1022
    left = kept[finite]
    powers = tuple(float((left**power).sum()) for power in (1, 2, 3, 4))
    zeros = int((left == 0).sum())
    return Numbers(
        values.numel(),
        (powers[0], powers[1], powers[2], powers[3]),
        float(left.min()) if left.numel() else float("inf"),
        float(left.max()) if left.numel() else float("-inf"),
        zeros,
        int((left.abs() < least).sum()) - zeros,
        int((left.abs() > 1e30).sum()),
        nan,
        values.numel() - int(finite.sum()) - nan,
    )


def _value(place: int) -> float:
    """The float32 that stands at a place in the order of all."""
    word = place ^ ((place >> _SIGN) & _BELOW)
    return float(np.int32(word).view(np.float32))


@lru_cache(maxsize=64)
def _made_keys(count: int) -> NDArray[np.uint32]:
    places = np.arange(count, dtype=np.uint64) + np.uint64(1)
    mixed = places * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(31)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    return (mixed >> np.uint64(32)).astype(np.uint32)


def _keys(count: int) -> NDArray[np.uint32]:
    """A key for each place; the first ones are the same for every count."""
    return _made_keys(max(256, 1 << (count - 1).bit_length()))[:count]
