"""The standard deviation of very many values, read once."""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor

_TOGETHER = 1 << 15  # few enough that a sum in single precision loses nothing that matters
_CANCELS = 1e-2  # a variance below this share of the second moment has lost too many digits


def deviation(values: Tensor) -> float:
    """√(E x² − (E x)²) over all values, in one reading where that is exact enough; NaN or infinite where they are.

    Sums of blocks are added in double precision, so the result does not drift with the number of values.

    >>> deviation(torch.tensor([1.0, 3.0, 5.0, 7.0]))
    2.23606797749979
    """
    exact = values if values.dtype in (torch.float32, torch.float64) else values.float()
    if exact.numel() < 2:
        return 0.0 * float(exact.sum())
    if exact.device.type != "cpu" or not exact.is_contiguous():
        return float(exact.std(correction=0))
    first = second = 0.0
    for part in exact.view(-1).split(_TOGETHER):
        first += float(part.sum())
        second += float(part.dot(part))
    mean, square = first / exact.numel(), second / exact.numel()
    variance = square - mean * mean
    return sqrt(variance) if variance > _CANCELS * square else float(exact.std(correction=0))
