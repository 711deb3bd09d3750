"""Which law the numbers of a cut normal give, and that every kernel table knows every law."""

from __future__ import annotations

from math import inf
from typing import get_args

import numpy as np
import pytest

from fanin.random.kernels import rows
from fanin.random.kernels.values import TILES, VALUES
from fanin.random.laws import Central32, FarTail64, Law, Truncated32, Truncated64
from fanin.random.many_laws import BATCHED
from fanin.random.truncated_law import truncated_law

CUTS = [
    ((-2.0, 2.0), Central32),
    ((-1.0, 0.5), Central32),
    ((0.5, 2.0), Central32),
    ((-2.0, -1.0), Central32),
    ((0.0, 0.25), Central32),
    ((-2.0, 2.001), Truncated32),
    ((-2.5, 2.5), Truncated32),
    ((-2.001, 1.0), Truncated32),
    ((1.0, 2.5), Truncated32),
    ((-inf, inf), Truncated32),
    ((0.0, 0.2), Truncated64),
    ((8.0, 9.0), Truncated64),
    ((40.0, inf), FarTail64),
]


@pytest.mark.parametrize(("bounds", "kind"), CUTS)
def test_a_cut_normal_is_computed_by_the_kernel_made_for_its_bounds(bounds, kind):
    assert type(truncated_law(np.float32, 0.1, 0.02, *bounds)) is kind
    wide = truncated_law(np.float64, 0.1, 0.02, *bounds)
    assert type(wide) is (FarTail64 if kind is FarTail64 else Truncated64)


def test_the_values_of_every_law_can_be_drawn_one_by_one_and_by_the_tile():
    assert set(VALUES) == set(TILES) == set(get_args(Law))
    assert set(rows.LAWS) == set(BATCHED) < set(TILES)
