"""Any part of a tensor by itself: the same bits as in the whole, for no more than it needs."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fanin.errors import ArgumentError
from fanin.initializers import (
    Blocks,
    Constant,
    Cycle,
    DeltaOrthogonal,
    Dirac,
    Identity,
    Initializer,
    Mapped,
    Mirrored,
    Negated,
    Normal,
    Orthogonal,
    Ramp,
    RowNormalized,
    Scaled,
    Sparse,
    TruncatedNormal,
    Uniform,
)
from fanin.initializers.pieces import fill_pieces
from fanin.random import Region, Stream

STREAM = Stream.named(5, "w")

# Each law with what the sizes of a tensor's dimensions must be multiples of.
LAWS = [
    (Constant(-0.1), (1, 1)),
    (Uniform(-0.3, 0.5), (1, 1, 1)),
    (Normal(0.1, 0.02), (1, 1)),
    (TruncatedNormal(std=0.02), (1,)),
    (Negated(Normal(0.1, 0.02)), (1, 1)),
    (Ramp(-5.0, 3.0, 1.35), (1, 1)),
    (Cycle((0.0, 0.5, -0.5), axis=0), (1, 1)),
    (Mapped(Uniform(1.0, 16.0), ("log",)), (1, 1)),
    (Identity(gain=0.5, batch=(1,)), (1, 1, 1)),
    (Dirac(groups=2), (2, 1, 1)),
    (Orthogonal(), (1, 1)),
    (Orthogonal(gain=-1.5, rows=(1,)), (1, 1, 1)),
    (Orthogonal(groups=4), (4, 1)),
    (Orthogonal(rows=(2,), batch=(0,)), (1, 1, 1)),
    (Orthogonal(rows=(1,), batch=(2, 0)), (1, 1, 1, 1)),
    (Orthogonal(rows=(2,), batch=(0,), groups=2, grouped=1), (1, 2, 1)),
    (DeltaOrthogonal(gain=2.0, groups=2), (2, 1, 1)),
    (DeltaOrthogonal(rows=(2,), columns=(0,), batch=(1,)), (1, 1, 1, 1)),
    (Sparse(0.3), (1, 1)),
    (Sparse(0.8, rows=(1,)), (1, 1, 1)),
    (Sparse(0.5, rows=(2,), batch=(0,)), (1, 1, 1, 1)),
    (RowNormalized(), (1, 1, 1)),
    (RowNormalized(rows=(1,), batch=(2,)), (1, 1, 1)),
    (Scaled(Normal(0.1, 0.02), (1.0, -3.0), (2, 1)), (2, 1)),
    (Scaled(Orthogonal(groups=2), (1.0, 2.0, 3.0, 4.0), (2, 2)), (2, 2)),
    (Mirrored(Orthogonal(2.0), (0, 1)), (2, 2)),
    (Mirrored(Normal(1.0, 0.5), (1,)), (1, 2)),
]
PACKED = [
    Blocks(Normal(), (((0, 0), (6, 9), Orthogonal()), ((6, 0), (6, 9), Orthogonal(2.0)), ((3, 2), (1, 4), Constant()))),
    Blocks(Orthogonal(), (((0, 0), (2, 3), Normal(), (4, 6), (3, 2)), ((1, 0), (10, 2), Sparse(0.4)))),
    Blocks(
        Constant(),
        (((0, 0), (2, 9), RowNormalized(), (6, 9), (2, 1)), ((2, 1), (1, 4), Uniform(-1, 1), (2, 9), (4, 1))),
    ),
]

LONG_TEETH = Blocks(Normal(), (((3, 0), (2, 200), Normal(std=2.0), (6, 200), (3, 1)),))


def words(law, region, dtype, threads=1):
    out = np.empty(region.size, dtype)
    law.fill(out, STREAM, region, threads=threads)
    return out


def cut(region):
    return tuple(slice(first, first + n) for first, n in zip(region.start, region.size, strict=True))


def contains(outer, inner):
    sides = zip(outer.start, outer.size, inner.start, inner.size, strict=True)
    return all(a <= c and c + d <= a + b for a, b, c, d in sides)


@st.composite
def grids(draw, cases):
    """A law, a shape, and regions that together are the tensor."""
    law, multiples = draw(st.sampled_from(cases))
    most = {1: 90, 2: 40, 3: 9, 4: 5}[len(multiples)]
    shape = tuple(unit * draw(st.integers(1, max(most // unit, 1))) for unit in multiples)
    lines = [sorted({0, n, *draw(st.lists(st.integers(0, n), max_size=2))}) for n in shape]
    cells = product(*map(pairwise, lines))
    regions = [Region(shape, *zip(*((a, b - a) for a, b in cell), strict=True)) for cell in cells]
    return law, shape, draw(st.permutations(regions)), draw(st.sampled_from(["float32", "float64", "uint16"]))


def test_every_law_of_the_package_is_here():
    assert {type(law).__name__ for law, _ in LAWS} | {"Blocks"} == Initializer.registry.keys()


@settings(max_examples=300, deadline=None)
@given(grids(LAWS))
def test_any_split_of_any_shape_is_the_whole(grid):
    law, shape, regions, dtype = grid
    check_split(law, shape, regions, dtype)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([*((law, (12, 9)) for law in PACKED), (LONG_TEETH, (24, 200))]), st.data())
def test_any_split_of_packed_blocks_is_the_whole(packed, data):
    law, shape = packed
    lines = [sorted({0, n, *data.draw(st.lists(st.integers(0, n), max_size=3))}) for n in shape]
    cells = product(*map(pairwise, lines))
    regions = [Region(shape, *zip(*((a, b - a) for a, b in cell), strict=True)) for cell in cells]
    check_split(law, shape, regions, data.draw(st.sampled_from(["float32", "uint16"])))


def check_split(law, shape, regions, dtype):
    whole = words(law, Region.whole(shape), dtype)
    for region in regions:
        np.testing.assert_array_equal(words(law, region, dtype, threads=2), whole[cut(region)])
        needed = law.needs(region)
        assert contains(needed, region)
        assert law.needs(needed) == needed
    held = regions[: max(1, len(regions) // 2)]
    outs = [np.full(region.size, 77, dtype) for region in held]
    fill_pieces(law, outs, STREAM, held, threads=2)
    for out, region in zip(outs, held, strict=True):
        np.testing.assert_array_equal(out, whole[cut(region)])


@pytest.mark.parametrize("shape", [(700, 420), (420, 700), (400, 20, 35), (2, 330, 500)])
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint16"])
def test_parts_of_matrices_that_all_threads_compute_together(shape, dtype):
    law = Orthogonal(2.0) if len(shape) == 2 else Orthogonal(rows=(1,), batch=(0,) if shape[0] == 2 else ())
    whole = words(law, Region.whole(shape), dtype, threads=3)
    for axis, n in enumerate(shape):
        few = min(n, 3)
        sizes = tuple(few if a == axis else m for a, m in enumerate(shape))
        starts = [tuple(first * (a == axis) for a in range(len(shape))) for first in (0, n // 3, n - few)]
        held = [Region(shape, start, sizes) for start in starts if start[axis] + few <= n]
        outs = [np.full(region.size, 77, dtype) for region in held]
        fill_pieces(law, outs, STREAM, held, threads=2)
        for out, region in zip(outs, held, strict=True):
            np.testing.assert_array_equal(out, whole[cut(region)])


@pytest.mark.parametrize(
    ("law", "region", "start", "size"),
    [
        (Normal(), Region((9, 9), (1, 2), (3, 4)), (1, 2), (3, 4)),
        (Orthogonal(), Region((9, 8), (1, 2), (3, 4)), (0, 0), (9, 8)),
        (Orthogonal(), Region((9, 8), (1, 2), (0, 4)), (1, 2), (0, 4)),
        (Orthogonal(groups=4), Region((40, 8), (15, 2), (10, 1)), (10, 0), (20, 8)),
        (Orthogonal(rows=(1,), batch=(0,)), Region((64, 8, 8), (3, 7, 0), (2, 1, 1)), (3, 0, 0), (2, 8, 8)),
        (DeltaOrthogonal(groups=2), Region((8, 4, 3, 3), (5, 2, 1, 1), (1, 1, 1, 2)), (4, 0, 1, 1), (4, 4, 1, 2)),
        (DeltaOrthogonal(), Region((8, 4, 3, 3), (5, 2, 1, 2), (1, 1, 1, 1)), (5, 2, 1, 2), (1, 1, 1, 1)),
        (RowNormalized(), Region((9, 8, 7), (2, 3, 4), (1, 1, 1)), (2, 0, 0), (1, 8, 7)),
        (Sparse(0.5), Region((9, 8), (1, 2), (3, 4)), (0, 2), (9, 4)),
        (Sparse(0.5, rows=(2,), batch=(0,)), Region((9, 8, 7), (1, 2, 3), (1, 2, 1)), (1, 2, 0), (1, 2, 7)),
        (Mirrored(Orthogonal()), Region((16, 8), (1, 2), (3, 4)), (0, 0), (8, 8)),
        (Mirrored(Orthogonal()), Region((16, 8), (9, 2), (3, 4)), (8, 0), (8, 8)),
        (Mirrored(Normal()), Region((16, 8), (6, 2), (3, 4)), (6, 2), (3, 4)),
        (PACKED[0], Region((12, 9), (1, 0), (1, 1)), (0, 0), (6, 9)),
        (PACKED[0], Region((12, 9), (3, 3), (1, 2)), (3, 3), (1, 2)),
        (PACKED[2], Region((12, 9), (1, 3), (6, 2)), (1, 0), (6, 9)),
    ],
    ids=repr,
)
def test_needs(law, region, start, size):
    assert law.needs(region) == Region(region.shape, start, size)


def peak(law, held, dtype):
    """Bytes that NumPy allocates while the regions are filled, as a fraction of the tensor's."""
    outs = [np.empty(region.size, dtype) for region in held]
    fill_pieces(law, outs, STREAM, held, threads=1)
    tracemalloc.start()
    try:
        fill_pieces(law, outs, STREAM, held, threads=1)
        return tracemalloc.get_traced_memory()[1] / (np.prod(held[0].shape) * outs[0].itemsize)
    finally:
        tracemalloc.stop()


EXPERTS = (64, 192, 128)


@pytest.mark.parametrize(
    ("law", "held", "dtype", "most"),
    [
        (Orthogonal(rows=(1,), batch=(0,)), [Region(EXPERTS, (9, 0, 0), (1, 192, 128))], "float32", 4 / 64),
        (Orthogonal(rows=(2,), batch=(0,)), [Region(EXPERTS, (9, 100, 0), (1, 5, 128))], "float32", 5 / 64),
        (Orthogonal(rows=(1,), batch=(0,)), [Region.whole((1024, 64, 64))], "uint16", 5 / 4),
        (Orthogonal(groups=64), [Region((64 * 96, 128), (97, 0), (90, 128))], "float32", 6 / 64),
        (DeltaOrthogonal(groups=64), [Region((64 * 96, 128, 1), (97, 0, 0), (90, 128, 1))], "float32", 6 / 64),
        (Orthogonal(), [Region((4096, 4096), (0, 0), (4096, 64))], "float32", 5 / 64),
        (Orthogonal(), [Region((4096, 4096), (9, 64), (900, 64))], "uint16", 1 / 4),
        (Sparse(0.9), [Region((1024, 4096), (512, 64), (512, 64))], "float32", 2 / 64),
        (
            Sparse(0.9),
            [Region((1024, 4096), (16, 64), (16, 64)), Region((1024, 4096), (64, 64), (9, 64))],
            "float32",
            2 / 64,
        ),
        (RowNormalized(), [Region((1024, 1024), (512, 0), (16, 1024))], "float32", 7 / 64),
        (RowNormalized(), [Region.whole((4096, 1024))], "uint16", 3 / 4),
        (
            Blocks(Normal(), (((0, 0), (2048, 2048), Orthogonal()),)),
            [Region((4096, 2048), (3000, 0), (9, 2048))],
            "float32",
            1 / 64,
        ),
        (
            Blocks(Orthogonal(), (((0, 0), (2048, 2048), Normal()),)),
            [Region((4096, 2048), (1000, 0), (9, 2048))],
            "float32",
            1 / 64,
        ),
        (
            Blocks(Orthogonal(), (((0, 0), (2048, 2048), Normal()), ((2048, 0), (2048, 2048), Constant(1.0)))),
            [Region((4096, 2048), (2040, 0), (19, 2048))],
            "float32",
            1 / 64,
        ),
        (
            Blocks(Normal(), (((0, 0), (2048, 2048), Orthogonal()), ((0, 0), (64, 2048), Constant(0.0)))),
            [Region((4096, 2048), (3, 0), (9, 2048))],
            "float32",
            1 / 64,
        ),
    ],
    ids=lambda value: value.describe() if isinstance(value, Initializer) else None,
)
def test_scratch_is_for_what_the_regions_need(law, held, dtype, most):
    assert peak(law, held, dtype) < most


def test_pieces_and_regions_must_match():
    whole = Region.whole((4, 4))
    with pytest.raises(ArgumentError, match="2 arrays do not fit 1 regions: give one array per region"):
        fill_pieces(Normal(), [np.empty(16), np.empty(16)], STREAM, [whole])
    with pytest.raises(ArgumentError, match=r"different shapes: \[\(4, 4\), \(8, 2\)\]"):
        fill_pieces(Normal(), [np.empty(16), np.empty(16)], STREAM, [whole, Region.whole((8, 2))])
    first = np.full((4, 4), 7.0)
    with pytest.raises(ArgumentError, match="out must be C-contiguous with 16 elements"):
        fill_pieces(Orthogonal(), [first, np.empty(15)], STREAM, [whole, whole])
    assert (first == 7).all()


@pytest.mark.parametrize("law", [law for law, multiples in LAWS if len(multiples) == 2], ids=lambda law: law.describe())
def test_no_pieces_and_empty_pieces_are_nothing_to_do(law):
    fill_pieces(law, [], STREAM, [])
    fill_pieces(law, [np.empty((0, 4), np.float32)], STREAM, [Region((8, 4), (3, 0), (0, 4))])
