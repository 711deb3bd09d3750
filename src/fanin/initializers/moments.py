"""Exact moments of tensors that are zero but for some values."""

from __future__ import annotations

from math import sqrt


def sparse_constant(value: float, count: int, size: int) -> tuple[float, float]:
    """(mean, std) of `size` values of which `count` are `value` and the others 0; (0, 0) where size is 0."""
    share = count / size if size else 0.0
    return value * share, abs(value) * sqrt(share * (1 - share))
