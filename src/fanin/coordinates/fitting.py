"""Slopes on doubly logarithmic paper."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def slope(sizes: Sequence[int], values: Sequence[float | None]) -> float | None:
    """Least-squares slope of log value against log size; None where a value is missing or 0.

    >>> slope((64, 128, 256), (1.0, 2.0, 4.0)), slope((64, 128), (1.0, None))
    (1.0, None)
    """
    known = [value for value in values if value is not None and value > 0]
    if len(known) < len(values):
        return None
    x, y = np.log2(sizes), np.log2(known)
    x = x - x.mean()
    return float(x @ (y - y.mean()) / (x @ x))


def over_seeds(changes: Array) -> list[float | None]:
    """The geometric mean over seeds of each step; None where nothing changed.

    Args:
        changes: [seeds, steps].
    """
    return [float(np.exp(np.log(step).mean())) if (step > 0).all() else None for step in changes.T]
