"""Numbers that no law can have are refused when it is built, in one clear sentence."""

from __future__ import annotations

from math import inf, nan

import numpy as np
import pytest

from fanin.errors import ArgumentError, UnknownNameError
from fanin.initializers import (
    Constant,
    Cycle,
    DeltaOrthogonal,
    Dirac,
    Identity,
    Initializer,
    Mapped,
    Normal,
    Orthogonal,
    Ramp,
    RowNormalized,
    Scaled,
    Sparse,
    TruncatedNormal,
    Uniform,
)

REFUSED = [
    (lambda: Constant(nan), "Constant: value must be a number and not NaN, got nan"),
    (lambda: Constant("1"), "Constant: value must be a number and not NaN, got '1'"),
    (lambda: Uniform(1.0, 0.0), "Uniform: low must be at most high, got 1.0 and 0.0"),
    (lambda: Uniform(0.0, inf), "Uniform: high must be a finite number, got inf"),
    (lambda: Normal(std=-0.02), "Normal: std must not be negative, got -0.02"),
    (lambda: Normal(std=nan), "Normal: std must be a finite number, got nan"),
    (lambda: Normal(mean=inf), "Normal: mean must be a finite number, got inf"),
    (lambda: Normal(std=None), "Normal: std must be a finite number, got None"),
    (lambda: TruncatedNormal(std=-1.0), "TruncatedNormal: std must not be negative, got -1.0"),
    (lambda: TruncatedNormal(lower=2.0, upper=-2.0), "TruncatedNormal: lower must be below upper, got 2.0 and -2.0"),
    (lambda: TruncatedNormal(lower=1.0, upper=1.0), "TruncatedNormal: lower must be below upper, got 1.0 and 1.0"),
    (lambda: TruncatedNormal(lower=-inf), "TruncatedNormal: lower must be a finite number, got -inf"),
    (lambda: TruncatedNormal.absolute(0.0, 1.0, 1.0, -1.0), "lower must be below upper, got 1.0 and -1.0"),
    (lambda: TruncatedNormal.absolute(0.0, -1.0, -1.0, 1.0), "TruncatedNormal: std must not be negative, got -1.0"),
    (
        lambda: TruncatedNormal.absolute(3.0, 0.0, -1.0, 1.0),
        "with std 0 every value is 3.0, outside the bounds -1.0 and",
    ),
    (lambda: Orthogonal(gain=nan), "Orthogonal: gain must be a finite number, got nan"),
    (
        lambda: Orthogonal(rows=(0,), batch=(0,)),
        "Orthogonal: dimensions must be different whole numbers from 0, got rows",
    ),
    (lambda: Orthogonal(rows=(-1,)), "Orthogonal: dimensions must be different whole numbers from 0, got rows=(-1,)"),
    (lambda: Orthogonal(groups=0), "Orthogonal: groups must be a whole number from 1, got 0"),
    (lambda: Orthogonal(groups=2, grouped=-1), "Orthogonal: grouped must be a dimension from 0, got -1"),
    (lambda: DeltaOrthogonal(columns=(0,)), "DeltaOrthogonal: dimensions must be different whole numbers from 0"),
    (lambda: DeltaOrthogonal(groups=1.5), "DeltaOrthogonal: groups must be a whole number from 1, got 1.5"),
    (lambda: Identity(gain=inf), "Identity: gain must be a finite number, got inf"),
    (lambda: Identity(batch=(1, 1)), "Identity: dimensions must be different whole numbers from 0, got batch=(1, 1)"),
    (lambda: Dirac(groups=-1), "Dirac: groups must be a whole number from 1, got -1"),
    (lambda: Dirac(centre="left"), "Dirac: centre must be 'same' or 'torch', got 'left'"),
    (lambda: Dirac(channels=(1, 1)), "Dirac: dimensions must be different whole numbers from 0, got channels=(1, 1)"),
    (lambda: Dirac(channels=(0, 1, 2)), "Dirac: channels must name two dimensions, got (0, 1, 2)"),
    (lambda: Sparse(-0.1), "Sparse: sparsity must be from 0 to 1, got -0.1"),
    (lambda: Sparse(1.5), "Sparse: sparsity must be from 0 to 1, got 1.5"),
    (lambda: Sparse(nan), "Sparse: sparsity must be a finite number, got nan"),
    (lambda: Sparse(0.5, std=-1), "Sparse: std must not be negative, got -1.0"),
    (lambda: RowNormalized(std=-1), "RowNormalized: std must not be negative, got -1.0"),
    (lambda: Ramp(high=inf), "Ramp: high must be a finite number, got inf"),
    (lambda: Ramp(exponent=-1), "Ramp: exponent must not be negative, got -1.0"),
    (lambda: Ramp(axis=0.5), "Ramp: axis must be a whole number, got 0.5"),
    (lambda: Ramp().moments(()), "Ramp: a tensor of shape () has no dimension -1"),
    (lambda: Ramp(axis=2).moments((3, 4)), "Ramp: a tensor of shape (3, 4) has no dimension 2"),
    (
        lambda: Scaled(Normal(), (1.0, 2.0), (3, 1)),
        "Scaled: 2 factors do not fill the grid (3, 1): give one for each block",
    ),
    (lambda: Scaled(Normal(), (nan,), (1, 1)), "Scaled: a factor must be a finite number, got nan"),
    (
        lambda: Scaled(Identity(), (1.0, 2.0), (2, 1)),
        "Scaled: Identity(gain=1, batch=()) is not alike throughout a tensor",
    ),
    (
        lambda: Scaled(Scaled(Normal(), (1.0,), (1,)), (1.0,), (1,)),
        "Scaled needs an initializer that is not scaled itself",
    ),
    (lambda: Cycle(()), "Cycle: give at least one value"),
    (lambda: Cycle((1.0, nan)), "Cycle: a value must be a finite number, got nan"),
    (lambda: Mapped(Uniform(), ()), "Mapped: give at least one function"),
    (lambda: Mapped(Normal(), ("exp",)), "Mapped: base must be a Uniform, a Ramp or a Cycle, got Normal(mean=0.0"),
    (lambda: Mapped({"law": "Mapped"}, ("exp",)), "Mapped: base must be a Uniform, a Ramp or a Cycle, got {'law'"),
    (lambda: Mapped(Uniform(), ("log",)), "Mapped: log needs values above 0, got 0 from Mapped(log(Uniform("),
    (
        lambda: Mapped(Uniform(1, 2), ("log", "inverse_softplus")),
        "Mapped: inverse_softplus needs values above 0, got 0",
    ),
]


@pytest.mark.parametrize(("build", "text"), REFUSED, ids=[text for _, text in REFUSED])
def test_impossible_numbers_are_refused(build, text):
    with pytest.raises(ArgumentError) as caught:
        build()
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_numbers_become_floats_so_that_equal_laws_have_equal_json():
    assert Normal(0, 1).to_dict() == {"law": "Normal", "mean": 0.0, "std": 1.0}
    assert isinstance(Normal(0, np.float32(0.5)).std, float)
    assert type(Constant(np.int64(3)).value) is int
    assert Constant(True).value is True


def test_json_of_an_unknown_or_damaged_law_is_refused():
    with pytest.raises(UnknownNameError, match="unknown initializer 'Normel'; did you mean 'Normal'"):
        Initializer.from_dict({"law": "Normel"})
    with pytest.raises(ArgumentError, match="initializer Normal cannot be built from"):
        Initializer.from_dict({"law": "Normal", "sigma": 1.0})
    with pytest.raises(UnknownNameError, match="unknown function 'lg'; did you mean 'log'"):
        Mapped(Uniform(1.0, 2.0), ("lg",))
    with pytest.raises(ArgumentError, match="std must not be negative"):
        Initializer.from_dict({"law": "Normal", "mean": 0.0, "std": -1.0})


@pytest.mark.parametrize("law", [Constant(), Normal(), Identity(), Orthogonal(), Sparse(0.5)])
def test_storage_that_does_not_fit_is_refused(law):
    from fanin.random import Region, Stream

    with pytest.raises(ArgumentError, match="cannot fill dtype int32"):
        law.fill(np.empty((4, 4), np.int32), Stream(0), Region.whole((4, 4)))
    with pytest.raises(ArgumentError, match="out must be C-contiguous with 16 elements"):
        law.fill(np.empty((4, 3), np.float32), Stream(0), Region.whole((4, 4)))
    with pytest.raises(ArgumentError, match="out must be C-contiguous with 16 elements"):
        law.fill(np.empty((4, 8), np.float32)[:, ::2], Stream(0), Region.whole((4, 4)))


def test_a_constant_too_large_for_its_dtype_is_refused(fill):
    with pytest.raises(ArgumentError, match=r"Constant: 100000.0 is beyond the largest float16 value, 65504"):
        fill(Constant(1e5), (3,), "float16")
    assert (fill(Constant(-float("inf")), (3,), "bfloat16") == -inf).all()
    assert (fill(Constant(1e5), (3,), "bfloat16") == 99840).all()


def test_a_constant_of_16_bits_is_the_float32_one_rounded(fill):
    just_above_a_tie = 1 + 2**-11 + 2**-40  # in float32 the tie itself, which goes to the even neighbour
    assert (fill(Constant(just_above_a_tie), (3,), "float16") == 1).all()
    assert (fill(Constant(just_above_a_tie), (3,), "float64") == just_above_a_tie).all()
