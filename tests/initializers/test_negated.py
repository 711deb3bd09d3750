"""Values that are minus others of the same tensor."""

import numpy as np
import pytest

from fanin.errors import ArgumentError
from fanin.initializers import Blocks, Constant, Initializer, Negated, Normal, Orthogonal, Uniform
from fanin.random import Region

DTYPES = ("float32", "float64", "float16", "bfloat16")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shift", [0, 3, 5, -2])
def test_minus_the_rows_further_on_to_the_bit(fill, dtype, shift):
    law, shape, first = Normal(0.3, 0.2), (9, 4), max(0, -shift)
    whole = fill(law, shape, dtype)
    region = Region(shape, (first, 1), (3, 2))
    part = fill(Negated(law, shift), shape, dtype, region=region)
    np.testing.assert_array_equal(part, -whole[first + shift : first + shift + 3, 1:3])


@pytest.mark.parametrize("dtype", DTYPES)
def test_opposite_gates_in_one_bias(fill, dtype):
    law = Uniform(0.5, 2.0)
    bias = Blocks(Constant(0.0), parts=(((0,), (25,), Negated(law, 25)), ((25,), (25,), law)))
    values = fill(bias, (100,), dtype, threads=3)
    np.testing.assert_array_equal(values[:25], -values[25:50])
    assert (values[25:50] >= 0.5).all()
    assert len(set(values[25:50])) > 20
    np.testing.assert_array_equal(values[50:], 0)


def test_moments_and_words():
    law = Negated(Uniform(1.0, 3.0), 8)
    assert law.moments((99,)) == (-2.0, pytest.approx(2 / 12**0.5))
    assert law.describe() == "Negated(Uniform(low=1, high=3) 8 rows further on)"
    assert Initializer.from_dict(law.to_dict()) == law


def test_what_it_refuses(fill):
    with pytest.raises(ArgumentError, match="Negated needs an elementwise initializer, got Orthogonal"):
        Negated(Orthogonal())
    with pytest.raises(ArgumentError, match="Negated needs an elementwise initializer, got 3"):
        Negated(3)
    with pytest.raises(ArgumentError, match=r"shift must be a whole number, got 1\.5"):
        Negated(Normal(), 1.5)
    for shift in (1, -1):
        with pytest.raises(ArgumentError, match=rf"Negated: a tensor of shape \(4, 2\) has no rows {shift} further on"):
            fill(Negated(Normal(), shift), (4, 2))
    with pytest.raises(ArgumentError, match="has no rows 1 further on"):
        fill(Negated(Normal(), 1), ())


def test_laws_nested_too_deeply_are_refused():
    data = Normal().to_dict()
    for _ in range(5000):
        data = {"law": "Negated", "of": data}
    with pytest.raises(ArgumentError, match="nested too deeply"):
        Initializer.from_dict(data)
