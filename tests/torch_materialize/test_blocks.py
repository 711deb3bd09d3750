"""Blocks: a law of which parts are overwritten."""

from __future__ import annotations

import numpy as np
import pytest

from fanin.errors import ArgumentError
from fanin.initializers import Constant, Initializer, Normal, Orthogonal, Uniform
from fanin.initializers.blocks import Blocks
from fanin.random import Region, Stream

STREAM = Stream.named(3, "w")
SHAPE = (12, 9)
LAW = Blocks(
    Normal(0.0, 2.0),
    (
        ((0, 0), (4, 9), Constant(1.0)),
        ((2, 3), (5, 4), Uniform(-1.0, 1.0)),
        ((8, 1), (4, 6), Orthogonal(3.0)),
    ),
)


def drawn(law, region=None, dtype=np.float32):
    region = region or Region.whole(SHAPE)
    out = np.full(region.size, 77, dtype)
    law.fill(out, STREAM, region)
    return out


def test_each_part_follows_its_law_and_later_parts_win():
    values = drawn(LAW)
    base, uniform = drawn(LAW.base), drawn(Uniform(-1.0, 1.0))
    assert (values[:2] == 1).all()
    assert (values[2:4, :3] == 1).all()
    assert np.array_equal(values[2:7, 3:7], uniform[2:7, 3:7])
    assert np.array_equal(values[7], base[7])
    block = values[8:, 1:7].astype(np.float64)
    assert np.allclose(block @ block.T, 9 * np.eye(4), atol=1e-5)
    assert np.array_equal(values[8:, 0], base[8:, 0])


def test_two_matrix_parts_are_different():
    law = Blocks(Constant(0.0), tuple(((first, 0), (6, 9), Orthogonal()) for first in (0, 6)))
    values = drawn(law)
    assert not np.allclose(values[:6], values[6:])


def test_parts_of_the_same_law_change_nothing():
    law = Blocks(Constant(0.0), tuple(((first, 0), (4, 9), Normal()) for first in (0, 4, 8)))
    assert np.array_equal(drawn(law), drawn(Normal()))


@pytest.mark.parametrize(("start", "size"), [((0, 0), (12, 9)), ((1, 2), (9, 5)), ((6, 0), (1, 9)), ((11, 8), (1, 1))])
def test_any_region_is_that_part_of_the_whole(start, size):
    rows, columns = (slice(a, a + n) for a, n in zip(start, size, strict=True))
    assert np.array_equal(drawn(LAW, Region(SHAPE, start, size)), drawn(LAW)[rows, columns])


def test_moments_count_what_is_visible():
    law = Blocks(Normal(0.0, 2.0), (((0, 0), (6, 10), Constant(1.0)), ((3, 0), (6, 10), Constant(-1.0))))
    # visible: 3 rows of 1, 6 rows of -1, 3 rows of the normal law
    mean, std = law.moments((12, 10))
    assert mean == pytest.approx((3 - 6) / 12)
    assert std**2 == pytest.approx((9 + 3 * 4) / 12 - mean**2)


def test_moments_are_those_of_the_values():
    law = Blocks(Normal(0.5, 2.0), (((100, 50), (300, 200), Uniform(-1.0, 3.0)), ((0, 0), (100, 400), Constant(2.0))))
    region = Region.whole((500, 400))
    values = np.empty(region.shape, np.float64)
    law.fill(values, STREAM, region)
    mean, std = law.moments(region.shape)
    assert abs(values.mean() - mean) < 5 * std / values.size**0.5
    assert abs(values.std() - std) < 5 * std / values.size**0.5


def test_json_round_trip_and_description():
    assert Initializer.from_dict(LAW.to_dict()) == LAW
    assert LAW.describe().startswith("Normal(mean=0, std=2) with [0:4, 0:9] = Constant(value=1), [2:7, 3:7] = Uniform(")


def test_bad_parts_are_refused():
    with pytest.raises(ArgumentError, match=r"a part's start \(0,\) and size \(1, 2\) differ in rank"):
        Blocks(Normal(), (((0,), (1, 2), Normal()),))
    with pytest.raises(ArgumentError, match="every law must be an initializer, got 3"):
        Blocks(3, ())
    with pytest.raises(ArgumentError, match="leaves the tensor"):
        drawn(Blocks(Normal(), (((10, 0), (4, 9), Constant(0.0)),)))
