"""Values computed by torch alone are the kernels', bit for bit: every law, dtype, region, key and lane."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fanin.errors import ArgumentError
from fanin.initializers import Normal, Orthogonal, TruncatedNormal, Uniform
from fanin.random import Region, Stream
from fanin.random.fills import checked_normal_law, checked_truncated_law
from fanin.random.kernels.fill import fill
from fanin.random.laws import RawWords, uniform_law
from fanin.random.runs import runs_of
from fanin.torch.device.arrays import as_array
from fanin.torch.device.pure import draw, fill_pure, law_for

INF = float("inf")
# The centre, one and two tails, narrow cuts, what float32 leaves to float64, and more than 37 sigmas out.
BOUNDS = [(-2, 2), (-1, 8), (3, 9), (-9, -3), (6, 7), (-0.1, 0.1), (0, INF), (-INF, INF), (8, 20), (40, 41), (-99, -38)]
LAWS = [
    *(RawWords(np.uint32(half)) for half in (0, 1)),
    *(uniform_law(real, *bounds) for real in (np.float32, np.float64) for bounds in ((-0.3, 1.0), (0.0, 1.0))),
    *(checked_normal_law(real, *pair) for real in (np.float32, np.float64) for pair in ((0.0, 1.0), (0.1, 0.02))),
    *(checked_truncated_law(real, 0.3, 1.7, *cut) for real in (np.float32, np.float64) for cut in BOUNDS),
]
DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]


def kernels(law, stream, part, dtype):
    """The kernels' values of a part, in `dtype`."""
    out = torch.empty(part.size, dtype=dtype)
    flat = as_array(out).reshape(-1) if dtype.is_floating_point else out.numpy().view(np.uint32).reshape(-1)
    stored = flat.view(np.int16) if dtype is torch.float16 else flat
    fill(stored, law, np.uint64(stream.key), np.uint64(stream.lane), *runs_of(part), 0, part.numel)
    return out


def bits(tensor):
    return tensor.contiguous().flatten().view(torch.uint8)


def working(law):
    return {np.uint32: torch.int32, np.float32: torch.float32, np.float64: torch.float64}[type(law[0])]


@pytest.mark.parametrize("law", LAWS, ids=lambda law: f"{type(law).__name__}{tuple(law)[:4]}")
def test_a_hundred_thousand_values_of_every_law(law):
    stream, part = Stream(key=0xDEADBEEF12345678, lane=7), Region((200_003,), (1,), (200_002,))
    values = draw(law, stream, part)
    ours = values.to(torch.int32) if type(law) is RawWords else values
    assert ours.dtype is working(law)
    assert torch.equal(bits(ours), bits(kernels(law, stream, part, ours.dtype)))


@st.composite
def regions(draw):
    size = draw(st.lists(st.integers(1, 9), max_size=4))
    start = [draw(st.integers(0, 7)) for _ in size]
    shape = [a + b + draw(st.integers(0, 7)) for a, b in zip(start, size, strict=True)]
    return Region(tuple(shape), tuple(start), tuple(size))


streams = st.builds(Stream, key=st.integers(0, 2**64 - 1), lane=st.integers(0, 2**32 - 1))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([law for law in LAWS if type(law) is not RawWords]), st.sampled_from(DTYPES), streams, regions())
def test_any_region_under_any_key(law, dtype, stream, part):
    if dtype is torch.float64 and working(law) is torch.float32:
        dtype = torch.float32
    for most in (part.numel // 3 + 1, 1 << 22):
        tensor = torch.full(part.size, -7.0, dtype=dtype)
        fill_pure(tensor, law, stream, part, most=most)
        assert torch.equal(bits(tensor), bits(kernels(law, stream, part, dtype)))


def test_indices_beyond_32_bits():
    part = Region((2**20, 2**20), (2**19, 2**20 - 9), (2, 9))
    for law in (uniform_law(np.float64, -1.0, 1.0), checked_normal_law(np.float32, 0.0, 1.0)):
        values = draw(law, Stream(key=1), part)
        assert torch.equal(bits(values), bits(kernels(law, Stream(key=1), part, working(law))))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    "initializer",
    [Uniform(-0.3, 1.0), Normal(0.1, 0.02), TruncatedNormal(0.0, 0.02), TruncatedNormal(0.1, 3.0, 6.0, 7.5)],
    ids=repr,
)
def test_an_initializer_on_strided_memory(initializer, dtype):
    part, stream = Region.whole((31, 67)), Stream.named(3, "w")
    tensor = torch.empty(67, 31, dtype=dtype).T
    fill_pure(tensor, law_for(initializer, dtype), stream, part)
    out = torch.empty(31, 67, dtype=dtype)
    initializer.fill(as_array(out), stream, part)
    assert torch.equal(bits(tensor), bits(out))


def test_float16_overflow_and_subnormals_round_as_the_kernels_do():
    part, stream = Region.whole((50_000,)), Stream.named(0, "w")
    for numbers in ((0.0, 6e4), (0.0, 3e-7)):
        law, half = checked_normal_law(np.float32, *numbers), torch.empty(50_000, dtype=torch.float16)
        fill_pure(half, law, stream, part)
        assert torch.equal(bits(half), bits(kernels(law, stream, part, torch.float16)))
        assert half.isinf().any() or (half.abs() < 6e-8).any()


def test_laws_that_only_the_host_draws():
    assert law_for(Orthogonal(), torch.float32) is None
    assert law_for(TruncatedNormal(0.0, 1.0, 40.0, 41.0, corrected=False), torch.float64) is None
    with pytest.raises(ArgumentError, match="normal law needs"):
        law_for(Normal(0.0, 1e39), torch.float32)
