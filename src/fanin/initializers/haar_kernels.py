"""Compiled steps of the Haar frame: reflectors from Gaussians, and a matrix product with one order of summation.

Every sum runs in the order of its index, one rounded product and one rounded addition at a time, so the bits are the
same on every CPU and for every number of threads; a BLAS promises neither.
"""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fanin.random.kernels.decorators import inlined, kernel

Flat = NDArray[Any]  # a row-major matrix as one dimension: Numba then proves that rows do not overlap

WIDTH = 64  # columns of a panel, and reflectors of a block
UNROLL = 8
CHUNK = 256  # rows of a panel that stay in the first-level cache while all reflectors of a block pass

_W1, _W2, _W3, _W4, _W5, _W6, _W7 = (np.uint64(WIDTH * row) for row in range(1, UNROLL))


@inlined
def _eight(a: Flat, i: int) -> Any:
    return a[i], a[i + 1], a[i + 2], a[i + 3], a[i + 4], a[i + 5], a[i + 6], a[i + 7]


@inlined
def _add_products(c: Any, x: Any, y: Any) -> Any:
    c = (((c + x[0] * y[0]) + x[1] * y[1]) + x[2] * y[2]) + x[3] * y[3]
    return (((c + x[4] * y[4]) + x[5] * y[5]) + x[6] * y[6]) + x[7] * y[7]


@inlined
def _column(b: Flat, j: Any) -> Any:
    return b[j], b[j + _W1], b[j + _W2], b[j + _W3], b[j + _W4], b[j + _W5], b[j + _W6], b[j + _W7]


@inlined
def _add_eight_rows(c: Flat, x: Any, y: Any, b: Flat) -> None:
    """Two rows of c += x and y (eight numbers each) times eight rows of b."""
    for column in range(WIDTH):
        j = np.uint64(column)
        p = _column(b, j)
        c[j] = _add_products(c[j], x, p)
        c[j + _W1] = _add_products(c[j + _W1], y, p)


@kernel
def accumulate(c: Flat, a: Flat, b: Flat, stride: int) -> None:
    """c [rows, 64] += a [rows, inner] · b [inner, 64], for even `rows` and `inner` a multiple of 8.

    The rows of `a` begin `stride` apart.
    """
    rows, inner = c.size // WIDTH, b.size // WIDTH
    for first in range(0, inner, CHUNK):
        last = min(first + CHUNK, inner)
        for row in range(0, rows, 2):
            two = c[row * WIDTH : (row + 2) * WIDTH]
            for k in range(first, last, UNROLL):
                eight = b[k * WIDTH : (k + UNROLL) * WIDTH]
                _add_eight_rows(two, _eight(a, row * stride + k), _eight(a, (row + 1) * stride + k), eight)


@kernel
def solve(minus_upper: Flat, w: Flat) -> None:
    """w ← (I + U)⁻¹ w for U strictly upper triangular; −U and w have rows of 64 numbers, and as many rows.

    Nothing on or below the diagonal of −U is read.
    """
    for row in range(w.size // WIDTH - 1, -1, -1):
        target = w[row * WIDTH : (row + 1) * WIDTH]
        for k in range(row + 1, w.size // WIDTH):
            factor, source = minus_upper[row * WIDTH + k], w[k * WIDTH : (k + 1) * WIDTH]
            for j in range(WIDTH):
                target[j] += factor * source[j]


@kernel
def reflect(gaussians: NDArray[Any], v: NDArray[Any], minus_vt: NDArray[Any], signs: Flat) -> None:
    """Reflectors I − v vᵀ, ‖v‖² = 2, that send row j of `gaussians` from its entry j on to a multiple of e_j.

    `v` [count, length] and `minus_vt` [length, count], both with room to spare, come zeroed in the places that are
    never written. `signs` gets the sign of the multiple: that of −(entry j).
    """
    for j in range(gaussians.shape[0]):
        square = 0.0
        for i in range(j, gaussians.shape[1]):
            square += float(gaussians[j, i]) * float(gaussians[j, i])
        norm, head = sqrt(square), float(gaussians[j, j])
        if norm == 0.0:  # the reflection of e_j then; only a vector of one entry can be zero in practice
            norm, head = 1.0, 1.0
        lead = head + norm if head >= 0.0 else head - norm
        scale = 1.0 / sqrt(norm * (norm + abs(head)))
        signs[j] = -1.0 if head >= 0.0 else 1.0
        for i in range(j, gaussians.shape[1]):
            v[j, i] = scale * (lead if i == j else float(gaussians[j, i]))
            minus_vt[i, j] = -v[j, i]


@kernel
def prepare(gaussians: NDArray[Any], v: Flat, minus_vt: Flat, minus_gram: Flat, signs: Flat) -> None:
    """A block of reflections from up to 64 rows of Gaussians: V, −Vᵀ and −VᵀV, in zeroed arrays, and the signs."""
    length = minus_vt.size // WIDTH
    reflect(gaussians, v.reshape(-1, length), minus_vt.reshape(length, WIDTH), signs)
    accumulate(minus_gram, v, minus_vt, length)


@kernel
def reflect_panel(panel: Flat, v: Flat, minus_vt: Flat, minus_gram: Flat) -> None:
    """panel ← (I − V (I + U)⁻¹ Vᵀ) panel, for a panel of 64 columns and a block that `prepare` made."""
    w = np.zeros_like(minus_gram)
    accumulate(w, v, panel, panel.size // WIDTH)
    solve(minus_gram, w)
    accumulate(panel, minus_vt, w, WIDTH)


@kernel
def _unit_panel(panel: Flat, start: int, columns: int, v: Flat, minus_vt: Flat, minus_gram: Flat) -> None:
    """The panel of unit vectors start, start + 1, …, reflected by its own block: Vᵀ panel is then part of V."""
    panel[:] = 0
    w, length = np.zeros_like(minus_gram), minus_vt.size // WIDTH
    for j in range(columns):
        panel[(start + j) * WIDTH + j] = 1
        for k in range(columns):
            w[j * WIDTH + k] = v[j * length + k]
    solve(minus_gram, w)
    accumulate(panel[start * WIDTH :], minus_vt, w, WIDTH)


@inlined
def _padded(count: int) -> int:
    return -(-count // UNROLL) * UNROLL


@inlined
def _first_place(block: int, length: int) -> int:
    """Where a block's reflectors begin: each of the blocks before it is 64 shorter than the last."""
    return WIDTH * block * length - WIDTH * WIDTH * (block * (block - 1) // 2)


@inlined
def _block(gaussians: NDArray[Any], block: int, v: Flat, minus_vt: Flat, grams: Flat) -> Any:
    """The Gaussians of a block, and its places in the scratch of all blocks."""
    p, n = gaussians.shape
    start = block * WIDTH
    count, length = _padded(min(WIDTH, p - start)), _padded(n) - start
    at = _first_place(block, _padded(n))
    return (
        gaussians[start : min(start + WIDTH, p), start:],
        v[at : at + count * length],
        minus_vt[at : at + WIDTH * length],
        grams[start * WIDTH : (start + count) * WIDTH],
    )


@kernel
def fill_frames(frames: NDArray[Any], gaussians: NDArray[Any], gain: Any) -> None:
    """`gain` times the frames [count, n, p], of any strides, from Gaussians [count, p, n], one after the other."""
    p, n = gaussians.shape[1:]
    blocks, length = -(-p // WIDTH), _padded(n)
    room = _first_place(blocks, length)
    v, minus_vt = np.zeros(room, gaussians.dtype), np.zeros(room, gaussians.dtype)
    grams, signs = np.zeros(blocks * WIDTH * WIDTH, v.dtype), np.ones(blocks * WIDTH, v.dtype)
    panel = np.zeros(length * WIDTH, v.dtype)
    for frame in range(len(frames)):
        grams[:] = 0
        for block in range(blocks):
            x, a, b, c = _block(gaussians[frame], block, v, minus_vt, grams)
            prepare(x, a, b, c, signs[block * WIDTH :])
        for own in range(blocks):
            start = own * WIDTH
            columns = min(WIDTH, p - start)
            _, a, b, c = _block(gaussians[frame], own, v, minus_vt, grams)
            _unit_panel(panel, start, columns, a, b, c)
            for block in range(own - 1, -1, -1):
                _, a, b, c = _block(gaussians[frame], block, v, minus_vt, grams)
                reflect_panel(panel[block * WIDTH * WIDTH :], a, b, c)
            for i in range(n):
                for j in range(columns):
                    frames[frame, i, start + j] = panel[i * WIDTH + j] * (signs[start + j] * gain)
