"""Filling several parts of one tensor, as a rank of a sharded model holds them."""

from __future__ import annotations

from collections.abc import Sequence

from fanin.errors import ArgumentError
from fanin.initializers.base import Initializer, Storage, check_storage
from fanin.random.stream import Region, Stream


def fill_pieces(
    law: Initializer,
    outs: Sequence[Storage],
    stream: Stream,
    regions: Sequence[Region],
    threads: int | None = None,
) -> None:
    """Write several parts of one tensor, computing what they share once.

    The values are those of `law.fill` for each region by itself. An elementwise law draws each part alone; a matrix
    law computes each matrix that a part touches once, one after the other, and beside `outs` holds no more than one
    of them (or a few small ones) at a time.

    Args:
        law: the tensor's initializer.
        outs: one C-contiguous array per region, of its size: float32, float64, float16, or uint16 for bfloat16 bits.
        stream: the tensor's random numbers.
        regions: which part of the logical tensor each array is; they may overlap.
        threads: how many to use, by default `fanin.random.default_threads()`; the values do not depend on it.

    Raises:
        ArgumentError: arrays and regions do not match, regions of different tensors, or a law that cannot fill the
            tensor. Nothing has been written where the arrays do not fit.

    >>> import numpy as np
    >>> from fanin.initializers import Orthogonal
    >>> top, bottom = np.empty((1, 4)), np.empty((2, 4))
    >>> parts = [Region((4, 4), (0, 0), (1, 4)), Region((4, 4), (2, 0), (2, 4))]
    >>> fill_pieces(Orthogonal(), [top, bottom], Stream.named(0, "w"), parts)
    >>> bool(abs(top @ bottom.T).max() < 1e-12)
    True
    """
    if len(outs) != len(regions):
        raise ArgumentError(f"{len(outs)} arrays do not fit {len(regions)} regions: give one array per region")
    shapes = {region.shape for region in regions}
    if len(shapes) > 1:
        raise ArgumentError(f"the regions belong to tensors of different shapes: {sorted(shapes)}")
    for out, region in zip(outs, regions, strict=True):
        check_storage(out, region)
    law.fill_all(outs, stream, regions, threads=threads)
