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
def accumulate(c: Flat, a: Flat, b: Flat) -> None:
    """c [rows, 64] += a [rows, inner] · b [inner, 64], for even `rows` and `inner` a multiple of 8."""
    rows, inner = c.size // WIDTH, b.size // WIDTH
    for first in range(0, inner, CHUNK):
        last = min(first + CHUNK, inner)
        for row in range(0, rows, 2):
            two = c[row * WIDTH : (row + 2) * WIDTH]
            for k in range(first, last, UNROLL):
                eight = b[k * WIDTH : (k + UNROLL) * WIDTH]
                _add_eight_rows(two, _eight(a, row * inner + k), _eight(a, (row + 1) * inner + k), eight)


@kernel
def solve(minus_upper: Flat, w: Flat) -> None:
    """w ← (I + U)⁻¹ w for U strictly upper triangular [64, 64]; −U is read, and nothing on or below the diagonal."""
    for row in range(WIDTH - 1, -1, -1):
        target = w[row * WIDTH : (row + 1) * WIDTH]
        for k in range(row + 1, WIDTH):
            factor, source = minus_upper[row * WIDTH + k], w[k * WIDTH : (k + 1) * WIDTH]
            for j in range(WIDTH):
                target[j] += factor * source[j]


@kernel
def reflect(gaussians: NDArray[Any], v: NDArray[Any], minus_vt: NDArray[Any], signs: Flat) -> None:
    """Reflectors I − v vᵀ, ‖v‖² = 2, that send row j of `gaussians` from its entry j on to a multiple of e_j.

    `v` [64, length] and `minus_vt` [length, 64] come zeroed. `signs` gets the sign of the multiple: that of −(entry j).
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
