"""Whether the values of a weight look like independent draws, or like what training leaves."""

from __future__ import annotations

import torch
from torch import Tensor

from fanin.torch.probe.sampling import places

_ROWS, _COLUMNS, _LEAST = 64, 512, 8
_TIMES = 4.0


def looks_drawn(weight: Tensor) -> bool | None:
    """Rows and columns all have the same size, up to the scatter of independent draws; None where too few tell.

    For independent values of kurtosis κ the mean squares of rows of n scatter by √((κ − 1)/n) relatively; training
    leaves rows and columns of very different size. Four times the expected variance, in either direction, is too
    much. Orthogonal and constant weights scatter less, and count as drawn.

    >>> looks_drawn(torch.randn(64, 64, generator=torch.Generator().manual_seed(0)))
    True
    >>> looks_drawn(torch.randn(64, 64) * torch.linspace(0.1, 2, 64))
    False
    """
    table = weight.detach()
    table = table.flatten(1) if table.ndim > 1 else table[None]
    rows, columns = places(table.shape[0], _ROWS, table.device), places(table.shape[1], _COLUMNS, table.device)
    if min(rows.numel(), columns.numel()) < _LEAST:
        return None
    squares = table[rows[:, None], columns].double().square()
    mean = squares.mean()
    if not bool(torch.isfinite(mean)) or not bool(mean):
        return None
    spread = squares.var() / mean**2  # κ − 1
    sides = ((squares.mean(d).var(), squares.shape[d]) for d in (0, 1))
    return all(float(seen) <= _TIMES * float(spread * mean**2) / count for seen, count in sides)
