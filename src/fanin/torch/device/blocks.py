"""A part of a tensor in blocks of bounded size."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import prod

from fanin.random.stream import Region

Index = tuple[slice, ...]


def blocks(part: Region, most: int) -> Iterator[tuple[Index, Region]]:
    """Rectangles of at most `most` values that make up `part`, in row-major order, each with its index within `part`.

    Whole rows stay together where they fit, so that a block of a contiguous tensor is contiguous.

    >>> [block.size for _, block in blocks(Region.whole((3, 4)), 8)]
    [(2, 4), (1, 4)]
    >>> [index for index, _ in blocks(Region((9, 9), (4, 4), (1, 3)), 2)]
    [(slice(0, 1, None), slice(0, 2, None)), (slice(0, 1, None), slice(2, 3, None))]
    """
    if part.numel <= most:
        yield tuple(slice(0, count) for count in part.size), part
        return
    cut = next(axis for axis in range(len(part.size)) if prod(part.size[axis + 1 :]) <= most)
    step = most // prod(part.size[cut + 1 :])
    inner = part.size[cut + 1 :]
    for outer in product(*map(range, part.size[:cut])):
        for first in range(0, part.size[cut], step):
            begin = (*outer, first, *(0 for _ in inner))
            size = (*(1 for _ in outer), min(step, part.size[cut] - first), *inner)
            start = tuple(a + b for a, b in zip(part.start, begin, strict=True))
            index = tuple(slice(a, a + count) for a, count in zip(begin, size, strict=True))
            yield index, Region(part.shape, start, size)
