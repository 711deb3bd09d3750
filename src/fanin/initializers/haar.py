"""Haar-random orthogonal frames as products of random reflections.

If x₁ … x_p are Gaussian vectors of dimensions n, n−1, … and H_j is the reflection that sends x_j to a multiple of the
first basis vector, then H₁ … H_p times the signs of these multiples is the Q of a Gaussian matrix with positive diag R,
which is Haar (Stewart 1980; Mezzadri 2007, math-ph/0609050) - without the matrix, and without R.

Reflections act 64 at a time: H₁ … H_b = I − V (I + U)⁻¹ Vᵀ with U the part of VᵀV above the diagonal, where ‖v_j‖² = 2
(Schreiber & Van Loan 1989; Joffrain et al. 2006). Columns are built 64 at a time, from the last block to the
first; block k does nothing to columns before 64·k, so the cost is 4/3·n³ for a square matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fanin import random
from fanin.initializers.haar_kernels import UNROLL, WIDTH, accumulate, reflect, solve
from fanin.random.stream import Region, Stream

Matrix = NDArray[Any]

SMALL = 2**26  # multiplications below which starting threads costs more than it saves


@dataclass(frozen=True, slots=True)
class Block:
    """Up to 64 reflections of the coordinates from `start` on: I − V (I + U)⁻¹ Vᵀ."""

    start: int
    v: Matrix
    minus_vt: Matrix
    minus_gram: Matrix
    signs: Matrix


def fill_haar(stack: Matrix, stream: Stream, gain: float, threads: int | None = None) -> None:
    """Write `gain` times independent Haar frames: orthonormal columns where rows ≥ columns, else orthonormal rows.

    Args:
        stack: [matrices, rows, columns], float32 or float64, which the whole computation has.
        stream: its elements are those of Gaussians of shape (matrices, shorter side, longer side).
        gain: factor on the matrices.
        threads: how many; the bits do not depend on it.
    """
    if stack.size:
        for index, matrix in enumerate(stack):
            _fill_frame(
                matrix if stack.shape[1] >= stack.shape[2] else matrix.T, index, stack.shape, stream, gain, threads
            )


def _fill_frame(
    frame: Matrix, index: int, shape: tuple[int, ...], stream: Stream, gain: float, threads: int | None
) -> None:
    n, p = frame.shape
    gaussians = (shape[0], p, n)
    workers = 1 if p * p * n < SMALL else threads or random.default_threads()
    starts = range(0, p, WIDTH)
    blocks = _each(lambda start: _block(gaussians, index, start, stream, frame.dtype), starts, workers)
    # The last panels pass through the most blocks; started first, they leave no thread idle at the end.
    _each(lambda start: _fill_panel(frame, start, blocks, gain), reversed(starts), workers)


def _block(gaussians: tuple[int, int, int], index: int, start: int, stream: Stream, dtype: np.dtype[Any]) -> Block:
    _, p, n = gaussians
    count, length = min(WIDTH, p - start), n - start
    padded = -(-length // UNROLL) * UNROLL
    x = np.empty((count, length), dtype)
    random.normal(x, stream, Region(gaussians, (index, start, start), (1, count, length)), 0.0, 1.0, threads=1)
    v, minus_vt = np.zeros((WIDTH, padded), dtype), np.zeros((padded, WIDTH), dtype)
    minus_gram, signs = np.zeros((WIDTH, WIDTH), dtype), np.ones(count, dtype)
    reflect(x, v, minus_vt, signs)
    accumulate(minus_gram.ravel(), v.ravel(), minus_vt.ravel())
    return Block(start, v.ravel(), minus_vt.ravel(), minus_gram.ravel(), signs)


def _fill_panel(frame: Matrix, start: int, blocks: list[Block], gain: float) -> None:
    """Write up to 64 columns of the frame, from column `start` on."""
    n, p = frame.shape
    own = blocks[start // WIDTH]
    columns = slice(start, min(start + WIDTH, p))
    panel = np.zeros((-(-n // UNROLL) * UNROLL, WIDTH), frame.dtype)
    panel[columns] = np.eye(columns.stop - start, WIDTH, dtype=frame.dtype)
    for block in reversed(blocks[: start // WIDTH + 1]):
        _reflect_panel(block, panel[block.start :].ravel())
    np.multiply(panel[:n, : columns.stop - start], own.signs * frame.dtype.type(gain), out=frame[:, columns])


def _reflect_panel(block: Block, rows: Matrix) -> None:
    w = np.zeros(WIDTH * WIDTH, rows.dtype)
    accumulate(w, block.v, rows)
    solve(block.minus_gram, w)
    accumulate(rows, block.minus_vt, w)


def _each(task: Callable[[int], Any], starts: Iterable[int], workers: int) -> list[Any]:
    if workers == 1:
        return [task(start) for start in starts]
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(task, starts))
