"""Haar-random matrices of a tensor, for some regions of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fanin import random
from fanin.initializers.haar import fill_matrix, fill_stack, is_small
from fanin.initializers.matrices import Matrices
from fanin.initializers.rectangles import boxes, shares, within
from fanin.initializers.storage import store, working_dtype
from fanin.initializers.windows import Window
from fanin.random.stream import Region, Stream

Array = NDArray[Any]
Share = tuple[Array, Region]

_TOGETHER = 1 << 19  # values of small matrices that are computed at a time, or two matrices per thread


def fill_haar(
    view: Matrices,
    parts: Sequence[tuple[Array, Region]],
    stream: Stream,
    gain: float,
    threads: int | None = None,
) -> None:
    """Write `gain` times a Haar frame per matrix of `view` into arrays that hold regions of the tensor.

    Each matrix that a region touches is computed once, and no other.

    Args:
        view: the tensor as a stack of matrices.
        parts: arrays of any strides and stored dtypes, each with its region and of its shape.
        stream: the tensor's random numbers.
        gain: factor on the matrices.
        threads: how many; the bits do not depend on it.
    """
    count = threads or random.default_threads()
    _, rows, columns = view.stack
    small = is_small(rows, columns)
    most = max(_TOGETHER, 2 * count * rows * columns) if small else 1
    for dtype in {working_dtype(out) for out, _ in parts}:
        own = [(out, region) for out, region in parts if working_dtype(out) == dtype]
        needs = [view.needs(region, *view.rows, *view.columns) for _, region in own]
        for box in boxes(needs, view.units, most):
            fill = _fill_small if small else _fill_large
            fill(view, box, list(shares(own, box)), dtype, stream, gain, count)


def _fill_small(
    view: Matrices, box: Region, touched: list[Share], dtype: np.dtype[Any], stream: Stream, gain: float, threads: int
) -> None:
    part = view.part(box)
    out, common = touched[0]
    direct = part.stacked(out) if len(touched) == 1 and common == box and out.dtype == dtype else None
    stack = np.empty(part.stack, dtype) if direct is None else direct
    fill_stack(stack, view.numbers(box), view.stack, stream, gain, threads)
    if direct is None:
        whole = part.tensor(stack)
        for out, common in touched:
            store(out, whole[within(common, box)])


def _fill_large(
    view: Matrices, box: Region, touched: list[Share], dtype: np.dtype[Any], stream: Stream, gain: float, threads: int
) -> None:
    windows: list[Window] = []
    for out, common in touched:
        stacked = view.part(common).stacked(out)
        values = np.empty(view.part(common).stack, out.dtype) if stacked is None else stacked
        windows.append(Window(view.places(common, view.rows), view.places(common, view.columns), values[0]))
    (number,) = view.numbers(box).tolist()
    fill_matrix(windows, number, view.stack, stream, gain, threads)
    for (out, common), window in zip(touched, windows, strict=True):
        if not np.may_share_memory(out, window.values):
            out[...] = view.part(common).tensor(window.values[None])
