"""A hyper-rectangle of a row-major tensor as rows of consecutive elements."""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fanin.random.stream import Region


class Runs(NamedTuple):
    """Rows of `length` consecutive elements.

    Row r begins at flat index offset + Σ digit_d·stride_d, the digits of r in the mixed radix `extents`.
    """

    length: int
    offset: int
    extents: NDArray[np.int64]
    strides: NDArray[np.int64]


@lru_cache(maxsize=256)  # a model has many tensors of few shapes
def runs_of(region: Region) -> Runs:
    """The runs of a region that is not empty, as long as they can be.

    >>> runs_of(Region((4, 6), (1, 0), (2, 6))).length
    12
    """
    strides = [prod(region.shape[d + 1 :]) for d in range(len(region.shape))]
    offset = sum(first * stride for first, stride in zip(region.start, strides, strict=True))
    rows = len(strides)
    while rows and strides[rows - 1] == prod(region.size[rows:]):
        rows -= 1
    length = prod(region.size[rows:])
    kept = [d for d in range(rows) if region.size[d] > 1]
    return Runs(length, offset, _integers(region.size[d] for d in kept), _integers(strides[d] for d in kept))


def _integers(numbers: Any) -> NDArray[np.int64]:
    return np.fromiter(numbers, np.int64)
