"""A scaled law gives the values of the law times their factors, for every law and grid."""

from __future__ import annotations

import numpy as np
import pytest

from fanin.data_driven.actions import scaled_law
from fanin.errors import PlanError
from fanin.initializers import Blocks, Constant, Identity, Normal, Orthogonal, Scaled, Uniform
from fanin.random import Region, Stream

SHAPE = (6, 4)
ROWS = np.array([1.0, 1.0, 2.0, 2.0, 0.5, 3.0])[:, None]
COLUMNS = np.array([1.0, 4.0, 4.0, 0.25])[None]
GRIDS = {"one": np.full((1, 1), 2.5), "rows": ROWS, "columns": COLUMNS, "both": ROWS * COLUMNS}
LAWS = {
    "normal": Normal(0.5, 0.2),
    "uniform": Uniform(-1.0, 2.0),
    "constant": Constant(3.0),
    "orthogonal": Orthogonal(),
    "gained": Orthogonal(gain=1.5),
    "scaled": Scaled(Normal(), (2.0, 3.0), (2, 1)),
    "two matrices": Blocks(Constant(7.0), (((0, 0), (3, 4), Orthogonal()), ((3, 0), (3, 4), Orthogonal(2.0)))),
    "a padding row": Blocks(Normal(), (((2, 0), (1, 4), Constant(0.0)),)),
    "matrix over normal": Blocks(Normal(), (((1, 1), (3, 2), Orthogonal()), ((4, 0), (2, 3), Uniform(1.0, 2.0)))),
    "a comb": Blocks(Normal(), (((0, 0), (1, 4), Orthogonal(), (2, 4), (3, 1)),)),
    "normal over matrix": Blocks(Orthogonal(), (((0, 0), (6, 4), Normal()),)),
}


def values(law):
    out = np.empty(SHAPE)
    law.fill(out, Stream.named(3, "w"), Region.whole(SHAPE))
    return out


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("law", LAWS)
def test_values_are_those_of_the_law_times_their_factors(law, grid):
    law, factors = LAWS[law], GRIDS[grid]
    made = scaled_law(law, factors, SHAPE)
    np.testing.assert_allclose(values(made), values(law) * factors, rtol=1e-13, atol=1e-15)
    assert type(made).from_dict(made.to_dict()) == made


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("law", ["normal", "uniform", "constant", "a padding row", "matrix over normal"])
def test_moments_are_those_of_the_values(law, grid):
    made = scaled_law(LAWS[law], GRIDS[grid], SHAPE)
    seen = []
    for seed in range(400):
        out = np.empty(SHAPE)
        made.fill(out, Stream.named(seed, "w"), Region.whole(SHAPE), threads=1)
        seen.append((out.mean(), np.square(out).mean()))
    mean, std = made.moments(SHAPE)
    for found, expected in zip(np.array(seen).T, (mean, mean * mean + std * std), strict=True):
        assert abs(found.mean() - expected) < 5 * found.std() / 400**0.5 + 1e-9


def test_one_factor_is_taken_into_the_numbers_of_the_law():
    one = GRIDS["one"]
    assert scaled_law(Normal(0.5, 0.25), one, SHAPE) == Normal(1.25, 0.625)
    assert scaled_law(Orthogonal(), one, SHAPE) == Orthogonal(gain=2.5)
    assert scaled_law(Orthogonal(gain=2.0), one, SHAPE) == Scaled(Orthogonal(gain=2.0), (2.5,), (1, 1))
    assert scaled_law(Normal(), ROWS, SHAPE) == Scaled(Normal(), (1.0, 1.0, 2.0, 2.0, 0.5, 3.0), (6, 1))
    assert scaled_law(Normal(), np.repeat([[1.0], [2.0]], 3, 0), SHAPE) == Scaled(Normal(), (1.0, 2.0), (2, 1))


@pytest.mark.parametrize("law", [Identity(), Blocks(Orthogonal(), (((0, 0), (1, 4), Constant(0.0)),))])
def test_a_law_that_cannot_be_scaled_block_by_block_is_refused(law):
    with pytest.raises(PlanError, match="cannot be scaled block by block"):
        scaled_law(law, ROWS, SHAPE)
