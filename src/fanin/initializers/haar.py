"""Haar-random orthogonal frames as products of random reflections.

If x₁ … x_p are Gaussian vectors of dimensions n, n−1, … and H_j is the reflection that sends x_j to a multiple of the
first basis vector, then H₁ … H_p times the signs of these multiples is the Q of a Gaussian matrix with positive diag R,
which is Haar (Stewart 1980; Mezzadri 2007, math-ph/0609050) - without the matrix, and without R.

Reflections act 64 at a time: H₁ … H_b = I − V (I + U)⁻¹ Vᵀ with U the part of VᵀV above the diagonal, where ‖v_j‖² = 2
(Schreiber & Van Loan 1989; Joffrain et al. 2006). Columns are built 64 at a time, and block k does nothing to columns
before 64·k, so the cost is 4/3·n³ for a square matrix. Columns do not need each other: of a large matrix only those
that a region touches are built, a few blocks at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fanin import random
from fanin.initializers.haar_kernels import UNROLL, WIDTH, fill_frames, prepare, reflect_panel
from fanin.initializers.parallel import Each, workers
from fanin.initializers.windows import Window
from fanin.random.stream import Region, Stream
from fanin.random.threads import run_shares

Matrix = NDArray[Any]

SMALL = 2**26
"""Multiplications of a matrix, shorter² · longer side, below which one thread computes it."""
_CACHED = 1 << 16  # Gaussians that a thread draws for small matrices at a time
_PANELS = 1 << 25  # values of a large matrix that are computed at a time
_WAVE = 8  # blocks of reflections at a time


def is_small(rows: int, columns: int) -> bool:
    """Whether one thread computes a matrix of this shape from beginning to end."""
    return rows * columns * min(rows, columns) < SMALL


def fill_stack(
    stack: Matrix, numbers: NDArray[np.intp], shape: tuple[int, int, int], stream: Stream, gain: float, threads: int
) -> None:
    """Write `gain` times Haar frames, one thread each: orthonormal columns where rows ≥ columns, else rows.

    Args:
        stack: [count, rows, columns], float32 or float64, which the whole computation has; of any strides.
        numbers: which matrices of the tensor these are, ascending.
        shape: (matrices of the tensor, rows, columns).
        stream: its elements are those of Gaussians of shape (matrices, shorter side, longer side).
        gain: factor on the matrices.
        threads: how many; the bits do not depend on it.
    """
    frames = stack if stack.shape[1] >= stack.shape[2] else stack.transpose(0, 2, 1)
    n, p = frames.shape[1:]
    together = max(1, _CACHED // (n * p))
    factor = stack.dtype.type(gain)

    def work(first: int, last: int) -> None:
        x = np.empty((min(together, last - first), p, n), stack.dtype)
        for begin in range(first, last, together):
            end = min(begin + together, last)
            for start, stop in _runs(numbers[begin:end]):
                room = x[start:stop]
                part = Region((shape[0], p, n), (int(numbers[begin + start]), 0, 0), room.shape)
                random.normal(room, stream, part, 0.0, 1.0, threads=1)
            fill_frames(frames[begin:end], x[: end - begin], factor)

    run_shares(work, len(frames), threads, per_item=n * p + p * p * n // 3)


def fill_matrix(
    windows: Sequence[Window], number: int, shape: tuple[int, int, int], stream: Stream, gain: float, threads: int
) -> None:
    """Write the windows of one matrix as `fill_stack` would, with all threads at work on it.

    Beside the windows it needs 2²⁵ values, or one panel of 64 columns per thread, and 8 blocks of reflections.
    """
    rows, columns = shape[1:]
    n, p = max(rows, columns), min(rows, columns)
    windows = [window if rows >= columns else window.transposed for window in windows]
    panels = np.unique(np.concatenate([window.columns // WIDTH for window in windows]))
    together = max(threads, _PANELS // (n * WIDTH))
    with workers(threads) as each:
        for first in range(0, len(panels), together):
            starts = [int(panel) * WIDTH for panel in panels[first : first + together]]
            _fill_panels(windows, starts, (shape[0], p, n), number, stream, gain, each)


def _fill_panels(
    windows: Sequence[Window],
    starts: list[int],
    gaussians: tuple[int, int, int],
    number: int,
    stream: Stream,
    gain: float,
    each: Each,
) -> None:
    """Compute the panels that begin at columns `starts`, ascending, and write what the windows have of them."""
    _, p, n = gaussians
    dtype = windows[0].dtype
    panels = {start: _unit_columns(start, min(WIDTH, p - start), n, dtype) for start in starts}
    signs = np.ones(starts[-1] + WIDTH, dtype)
    blocks = range(starts[-1], -1, -WIDTH)

    def apply(wave: range) -> None:
        made = each(lambda start: (start, *_block(gaussians, number, start, stream, signs)), wave)
        each(partial(_reflect, panels, made), [start for start in reversed(starts) if start >= wave[-1]])

    for first in range(0, len(blocks), _WAVE):
        apply(blocks[first : first + _WAVE])
    signs *= dtype.type(gain)
    each(lambda start: _deliver(windows, start, panels[start], signs[start : start + WIDTH]), starts)


def _unit_columns(start: int, count: int, n: int, dtype: np.dtype[Any]) -> Matrix:
    panel = np.zeros((_padded(n), WIDTH), dtype)
    panel[start : start + count, :count] = np.eye(count, dtype=dtype)
    return panel


def _block(
    gaussians: tuple[int, int, int], number: int, start: int, stream: Stream, signs: Matrix
) -> tuple[Matrix, Matrix, Matrix]:
    """V, −Vᵀ and −VᵀV of the reflections `start`, start + 1, …, each flat; and their `signs`."""
    _, p, n = gaussians
    count, length = min(WIDTH, p - start), n - start
    x = np.empty((count, length), signs.dtype)
    random.normal(x, stream, Region(gaussians, (number, start, start), (1, count, length)), 0.0, 1.0, threads=1)
    v = np.zeros(_padded(count) * _padded(length), x.dtype)
    minus_vt = np.zeros(_padded(length) * WIDTH, x.dtype)
    minus_gram = np.zeros(_padded(count) * WIDTH, x.dtype)
    prepare(x, v, minus_vt, minus_gram, signs[start:])
    return v, minus_vt, minus_gram


def _reflect(panels: dict[int, Matrix], blocks: list[tuple[int, Matrix, Matrix, Matrix]], own: int) -> None:
    """Apply blocks, each with its start, to the panel that begins at column `own`; later blocks do not move it."""
    for start, *block in blocks:
        if start <= own:
            reflect_panel(panels[own][start:].ravel(), *block)


def _deliver(windows: Sequence[Window], start: int, panel: Matrix, factors: Matrix) -> None:
    for window in windows:
        window.write(start, panel, factors)


def _padded(count: int) -> int:
    return -(-count // UNROLL) * UNROLL


def _runs(numbers: NDArray[np.intp]) -> Iterator[tuple[int, int]]:
    """Where ascending numbers follow each other without a gap: (first place, last place + 1) of each run."""
    breaks = np.flatnonzero(np.diff(numbers) != 1) + 1
    edges = [0, *breaks.tolist(), len(numbers)]
    yield from pairwise(edges)
