"""Which of many entries to look at: the same ones each time, spread evenly, in step with no stride."""

from __future__ import annotations

import torch
from torch import Tensor

# Multiples of the golden ratio modulo 1 fill the interval evenly.
_GOLDEN = 0.6180339887498949


def places(count: int, most: int, device: torch.device | None = None) -> Tensor:
    """At most `most` of the indices 0 … count−1, in ascending order: frac(i·0.618…)·count of more.

    >>> places(100, 5).tolist()
    [0, 23, 47, 61, 85]
    """
    if count <= most:
        return torch.arange(count, device=device)
    steps = torch.arange(most, dtype=torch.float64, device=device)
    return (steps.mul_(_GOLDEN).remainder_(1).mul_(count)).long().sort().values
