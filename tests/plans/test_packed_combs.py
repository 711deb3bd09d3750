"""Combs of rectangles: interleaved blocks under laws of their own."""

import numpy as np
import pytest

from fanin.errors import ArgumentError
from fanin.initializers import Blocks, Constant, Initializer, Normal, Orthogonal, Uniform
from fanin.random import Region, Stream
from fanin.random.part import Part, visible

STREAM, SHAPE = Stream.named(3, "w"), (24, 10)
# queries, keys and values of four heads of two rows each
LAW = Blocks(
    Constant(7.0),
    (
        ((0, 0), (2, 10), Orthogonal(), (6, 10), (4, 1)),
        ((2, 0), (2, 10), Uniform(-1.0, 1.0), (6, 10), (4, 1)),
        ((4, 1), (2, 1), Normal(std=2.0), (6, 2), (4, 5)),
    ),
)


def drawn(law, region=None, dtype=np.float32):
    region = region or Region.whole(SHAPE)
    out = np.full(region.size, 77, dtype)
    law.fill(out, STREAM, region)
    return out


def test_each_comb_follows_its_law():
    values = drawn(LAW).reshape(4, 3, 2, 10)
    uniform, normal = (drawn(law).reshape(4, 3, 2, 10) for law in (Uniform(-1.0, 1.0), Normal(std=2.0)))
    queries = values[:, 0].reshape(8, 10).astype(np.float64)
    assert np.allclose(queries @ queries.T, np.eye(8), atol=1e-6)
    assert np.array_equal(values[:, 1], uniform[:, 1])
    assert np.array_equal(values[:, 2, :, 1::2], normal[:, 2, :, 1::2])
    assert (values[:, 2, :, ::2] == 7).all()


@pytest.mark.parametrize(
    ("start", "size"), [((0, 0), SHAPE), ((1, 3), (11, 4)), ((5, 0), (1, 10)), ((3, 9), (20, 1)), ((6, 0), (2, 2))]
)
def test_any_region_is_that_part_of_the_whole(start, size):
    rows, columns = (slice(a, a + n) for a, n in zip(start, size, strict=True))
    assert np.array_equal(drawn(LAW, Region(SHAPE, start, size)), drawn(LAW)[rows, columns])


def test_tall_combs_are_drawn_slab_by_slab():
    shape = (1 << 18, 8)
    law = Blocks(Constant(0.0), (((1, 0), (1, 8), Normal(), (2, 8), (1 << 17, 1)),))
    values, plain = np.empty(shape, np.float32), np.empty(shape, np.float32)
    law.fill(values, STREAM, Region.whole(shape))
    Normal().fill(plain, STREAM, Region.whole(shape))
    assert np.array_equal(values[1::2], plain[1::2])
    assert not values[::2].any()


def test_moments_count_what_is_visible():
    mean, std = LAW.moments(SHAPE)
    # of 240 values 80 are orthogonal (variance 1/10), 80 uniform (1/3), 40 normal (4), 40 sevens
    assert mean == pytest.approx(7 / 6)
    assert std**2 == pytest.approx((80 / 10 + 80 / 3 + 40 * 4 + 40 * 49) / 240 - mean**2)
    assert not LAW.covered(SHAPE)
    assert Blocks(Constant(0.0), tuple(((i, 0), (1, 4), Normal(), (2, 4), (3, 1)) for i in range(2))).covered((6, 4))


def test_json_and_words():
    assert Initializer.from_dict(LAW.to_dict()) == LAW
    assert "[0:2 and 3 more every 6, 0:10] = Orthogonal(" in LAW.describe()
    assert LAW.elementwise is False
    assert Blocks(Normal(), (((0,), (1,), Constant(0.0)),)).elementwise is True


def test_a_single_tooth_is_a_rectangle():
    assert Blocks(Normal(), (((0, 0), (2, 3), Normal(), (5, 5), (1, 1)),)) == Blocks(
        Normal(), (((0, 0), (2, 3), Normal()),)
    )


@pytest.mark.parametrize("axes", [0, 1, 2])
def test_visible_is_what_painting_shows(axes):
    random = np.random.default_rng(axes)
    for _ in range(50):
        shape = tuple(random.integers(1, 9, axes + 1).tolist())
        parts, owner = [], np.full(shape, -1)
        for number in range(4):
            start = [int(random.integers(0, n)) for n in shape]
            size = [int(random.integers(0, n - a + 1)) for a, n in zip(start, shape, strict=True)]
            stride = [max(n, 1) + int(random.integers(0, 3)) for n in size]
            count = [1 + (n - a - m) // s for a, m, s, n in zip(start, size, stride, shape, strict=True)]
            part = Part(start, size, stride, count) if number % 2 else Part(start, size)
            parts.append(part)
            owner[np.ix_(*(part.places(axis) for axis in range(len(shape))))] = number
        counts, rest = visible(parts, shape)
        assert counts == [int((owner == number).sum()) for number in range(4)]
        assert rest == (owner == -1).sum()


def test_parts_that_do_not_fit_have_nothing():
    assert visible([Part((0,), (3,)), Part((0, 0), (4, 1)), Part((0, 0), (1, 1), (2, 1), (10**15, 1))], (3, 2)) == (
        [0, 0, 0],
        6,
    )


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        (((0,), (1, 2)), r"start \(0,\) and size \(1, 2\) differ in rank"),
        (((0,), (-1,)), "must be counts of elements"),
        (((0,), (3,), (2,), (2,)), r"rectangles of size \(3,\) at distances \(2,\) overlap"),
        (((0, 0), (1, 1), (2,), (2,)), "do not fit together"),
        (((0,), (1,), (2,), (0,)), "do not fit together"),
    ],
)
def test_impossible_parts_are_refused(fields, text):
    with pytest.raises(ArgumentError, match=text):
        Part(*fields)


def test_a_comb_that_leaves_the_tensor_is_refused_when_drawn():
    with pytest.raises(ArgumentError, match="leaves the tensor"):
        drawn(Blocks(Constant(0.0), (((0, 0), (2, 10), Normal(), (6, 10), (5, 1)),)))
