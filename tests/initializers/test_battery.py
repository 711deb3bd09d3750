"""The conformance battery: what every initializer must do, at every shape and stored dtype."""

from __future__ import annotations

import json
from math import prod, sqrt

import numpy as np
import pytest

from fanin.initializers import (
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
    Ones,
    Orthogonal,
    Ramp,
    RowNormalized,
    Scaled,
    Sparse,
    TruncatedNormal,
    Uniform,
    Zeros,
)
from fanin.random import Region

ANY = [(), (1,), (9,), (0,), (1, 5), (33, 20), (0, 4), (4, 3, 5), (4, 3, 3, 3), (2, 3, 2, 5, 4)]
MATRIX = [(1, 5), (5, 1), (0, 4), (4, 0), (33, 20), (20, 33), (130, 70), (4, 3, 5), (8, 3, 3, 3), (4, 3, 2, 5, 4)]
STACKS = [(3, 4, 6), (3, 6, 4), (2, 1, 8), (0, 2, 3), (3, 2, 0)]
KERNELS = [(8, 4, 1), (6, 6, 3), (4, 8, 2, 4), (8, 2, 3, 3), (2, 4, 3, 2, 5), (4, 0, 3), (0, 4, 3), (4, 4, 0)]
GROUPED = [(8, 3, 3), (4, 5, 2, 3), (12, 1, 1, 1, 2)]
TRANSPOSED = [(6, 8, 3), (3, 5, 4, 4)]
LINES = [shape for shape in ANY if shape]
EVEN = [(2, 2), (6, 20), (32, 20), (4, 6, 3), (0, 4)]

TABLE = [
    (Zeros(), ANY),
    (Ones(), ANY),
    (Constant(-0.1), ANY),
    (Uniform(-0.3, 0.5), ANY),
    (Uniform(0.25, 0.25), ANY),
    (Normal(0.1, 0.02), ANY),
    (Negated(Normal(0.1, 0.02)), ANY),
    (Normal(1.5, 0.0), ANY),
    (TruncatedNormal(std=0.02), ANY),
    (TruncatedNormal(0.5, 0.1, -1.0, 3.0), ANY),
    (TruncatedNormal(0.5, 0.1, 1.0, 2.0, corrected=False), ANY),
    (TruncatedNormal.absolute(0.0, 0.02, -2.0, 2.0), ANY),
    (TruncatedNormal.absolute(0.0, 1.0, 0.5, 1.5), ANY),
    (Ramp(-5.0, 3.0, 1.35), LINES),
    (Ramp(2.0, 1.0, endpoint=False, axis=0), LINES),
    (Cycle((0.0, 0.5, -0.5)), LINES),
    (Mapped(Ramp(1.0, 16.0), ("log",)), LINES),
    (Mapped(Uniform(-6.9, -2.3), ("exp", "inverse_softplus")), ANY),
    (Mapped(Uniform(1.0, 16.0), ("log",)), ANY),
    (Orthogonal(), MATRIX),
    (Orthogonal(gain=-1.5, rows=(1,)), MATRIX),
    (Orthogonal(batch=(0,), rows=(1,)), STACKS),
    (Orthogonal(batch=(2,), rows=(1,)), STACKS),
    (Orthogonal(groups=4), GROUPED),
    (Orthogonal(rows=(1,), groups=3), TRANSPOSED),
    (DeltaOrthogonal(gain=2.0), KERNELS),
    (DeltaOrthogonal(groups=4), GROUPED),
    (DeltaOrthogonal(rows=(1,), columns=(0,), groups=3), TRANSPOSED),
    (Identity(), MATRIX[:7]),
    (Identity(gain=0.01, batch=(1,)), STACKS),
    (Dirac(), KERNELS),
    (Dirac(gain=0.5, groups=2, centre="torch"), [(8, 3, 3), (4, 5, 2, 4), (2, 1, 1)]),
    (Dirac(channels=(2, 1)), [(3, 4, 4), (2, 2, 6)]),
    (Sparse(0.1), MATRIX),
    (Sparse(0.8, std=1.0, rows=(1,)), MATRIX),
    (Sparse(0.0), MATRIX),
    (Sparse(1.0), MATRIX),
    (Sparse(0.5, rows=(2,), batch=(0,)), STACKS),
    (RowNormalized(), MATRIX),
    (RowNormalized(0.01, rows=(1,)), MATRIX),
    (RowNormalized(rows=(0, 1)), STACKS),
    (Scaled(Normal(0.1, 0.02), (1.0, -3.0), (2, 1)), EVEN[:3]),
    (Scaled(Orthogonal(2.0), (0.3,), (1, 1)), MATRIX[:7]),
    (Scaled(Uniform(-0.3, 0.5), (0.5, 1.5, 2.5, 3.5), (2, 2)), EVEN[:3]),
    (Mirrored(Orthogonal(2.0), (0, 1)), EVEN),
    (Mirrored(DeltaOrthogonal()), [(8, 3, 3), (12, 4, 3, 3)]),
]
DTYPES = ("float32", "float64", "float16", "bfloat16")
ROUNDING = {"float32": 2e-7, "float64": 1e-12, "float16": 1e-3, "bfloat16": 8e-3}

LAWS = [law for law, _ in TABLE]
CASES = [(law, shape) for law, shapes in TABLE for shape in shapes]
NAMES = [f"{law.describe()}-{shape}" for law, shape in CASES]
every_case = pytest.mark.parametrize(("law", "shape"), CASES, ids=NAMES)
every_law = pytest.mark.parametrize("law", LAWS, ids=lambda law: law.describe())
every_dtype = pytest.mark.parametrize("dtype", DTYPES)


def test_every_law_of_the_package_is_in_the_battery():
    # Blocks only puts these laws side by side; it has its own tests.
    assert Initializer.registry.keys() - {"Blocks"} == {type(law).__name__ for law in LAWS}


@every_dtype
@every_case
def test_a_part_is_that_part_of_the_whole(fill, law, shape, dtype):
    whole = fill(law, shape, dtype, raw=True)
    rng = np.random.default_rng(len(shape))
    for _ in range(3):
        start = tuple(int(rng.integers(0, n + 1)) for n in shape)
        size = tuple(int(rng.integers(0, n - first + 1)) for n, first in zip(shape, start, strict=True))
        part = fill(law, shape, dtype, region=Region(shape, start, size), raw=True)
        cut = tuple(slice(first, first + n) for first, n in zip(start, size, strict=True))
        np.testing.assert_array_equal(part, whole[cut])


@every_dtype
@every_case
def test_bits_depend_on_seed_and_name_alone(fill, law, shape, dtype):
    first = fill(law, shape, dtype, raw=True)
    np.testing.assert_array_equal(first, fill(law, shape, dtype, threads=3, raw=True))
    spread = first.size >= 8 and law.moments(shape)[1] > 0
    if spread and not isinstance(getattr(law, "base", law), Identity | Dirac | Ramp | Cycle):
        assert (first != fill(law, shape, dtype, name="v", raw=True)).any()
        assert (first != fill(law, shape, dtype, seed=1, raw=True)).any()


@every_case
def test_half_precision_is_float32_rounded_once(fill, law, shape):
    single = fill(law, shape, "float32", raw=True)
    np.testing.assert_array_equal(fill(law, shape, "float16", raw=True), single.astype(np.float16))
    bits = single.view(np.uint32)
    nearest = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    np.testing.assert_array_equal(fill(law, shape, "bfloat16", raw=True), nearest)


def _large_shape(law):
    if any(shape == (33, 20) for shape in dict(TABLE)[law]):
        return (300, 200)
    first = next(shape for shape in dict(TABLE)[law] if prod(shape))
    return tuple(n * 12 if axis < 2 else n * 2 for axis, n in enumerate(first))


@every_dtype
@every_law
def test_moments_are_the_promised_ones(fill, law, dtype):
    shape = _large_shape(law)
    mean, std = law.moments(shape)
    values = fill(law, shape, dtype, name="moments")
    size, rounding = values.size, ROUNDING[dtype] * (abs(mean) + std)
    assert abs(values.mean() - mean) <= 5 * std / sqrt(size) + rounding
    square, fourth = (values**2).mean(), (values**4).mean()
    error = sqrt(max(fourth - square**2, 0) / size)
    assert abs(square - (mean**2 + std**2)) <= 5 * error + 2 * rounding * (abs(mean) + std)


@pytest.mark.parametrize(
    "law",
    [Normal(0.1, 0.02), TruncatedNormal(std=0.02), Uniform(-0.3, 0.5), Sparse(0.1)],
    ids=lambda law: law.describe(),
)
def test_a_std_one_percent_off_would_be_seen(fill, law):
    mean, std = law.moments((1000, 1000))
    off = (fill(law, (1000, 1000), name="power") - mean) ** 2 - (1.01 * std) ** 2
    assert abs(off.mean()) > 5 * off.std() / 1000


@every_law
def test_json_gives_the_same_law_back(law):
    text = json.dumps(law.to_dict(), allow_nan=False)
    back = Initializer.from_dict(json.loads(text))
    assert back == law
    assert type(back) is type(law)
    assert json.dumps(back.to_dict()) == text


@every_law
def test_a_law_describes_itself_in_one_line(law):
    assert law.describe().startswith(type(law).__name__ + "(")
    assert "\n" not in law.describe()
    assert hash(law) == hash(Initializer.from_dict(law.to_dict()))
