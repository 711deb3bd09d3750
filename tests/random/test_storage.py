"""16-bit values are float32 values rounded once; what cannot be filled is refused before a byte is written."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fanin.errors import ArgumentError
from fanin.random import Region, Stream, normal, truncated_normal, uniform, words

# (law, numbers) whose values reach subnormal halves, halves' overflow, bfloat16's overflow and plain sizes.
LAWS = [
    (normal, (0.0, 1.0)),
    (normal, (0.0, 3e-6)),
    (normal, (0.0, 4e4)),
    (normal, (0.0, 2e38)),
    (normal, (0.0, 1e-39)),
    (uniform, (-7e4, 7e4)),
    (uniform, (0.0, 1e-7)),
    (truncated_normal, (0.5, 0.02, -2.0, 2.0)),
    (truncated_normal, (0.0, 1.0, 6.0, 8.0)),
]


@pytest.mark.parametrize(("fill", "numbers"), LAWS)
@pytest.mark.parametrize(("dtype", "torch_dtype"), [("float16", torch.float16), ("uint16", torch.bfloat16)])
def test_16_bit_values_are_torchs_rounding_of_the_float32_values(fill, numbers, dtype, torch_dtype, draw):
    wide = torch.from_numpy(draw(fill, 50_001, *numbers)).to(torch_dtype)
    assert np.array_equal(draw(fill, 50_001, *numbers, dtype=dtype).view(np.int16), wide.view(torch.int16).numpy())


@pytest.mark.parametrize(("torch_dtype", "name"), [(torch.float16, "float16_bits"), (torch.bfloat16, "bfloat16_bits")])
def test_rounding_agrees_with_torch_on_all_sorts_of_floats(torch_dtype, name):
    from fanin.random.kernels import stored

    rng = np.random.default_rng(0)
    bits = np.concatenate([
        rng.integers(0, 2**32, 3000, np.uint64),
        (rng.integers(0, 2**16, 1000, np.uint64) << 16) + 2**15,
        (rng.integers(0, 2**19, 1000, np.uint64) << 13) + 2**12,
        [0, 2**31, 0x477FEFFF, 0x477FF000, 0x387FFFFF, 0x38800000, 0x33000000, 0x33000001, 0x7F7FFFFF, 0x7F800000],
    ])  # fmt: skip
    values = bits.astype(np.uint32).view(np.float32)
    values = values[~np.isnan(values)]
    expected = torch.from_numpy(values.copy()).to(torch_dtype).view(torch.int16).numpy().view(np.uint16)
    assert [int(getattr(stored, name)(value)) for value in values] == expected.tolist()


def test_float64_values_refine_the_float32_ones(draw):
    for fill, numbers in LAWS[0], LAWS[5], LAWS[7], LAWS[8]:
        wide, narrow = draw(fill, 20_000, *numbers, dtype="float64"), draw(fill, 20_000, *numbers)
        scale = np.abs(wide).max()
        assert np.abs(wide - narrow).max() < 2e-6 * scale
        assert np.mean(wide.astype(np.float32) == wide) < 0.01


REFUSED = [
    (uniform, (1.0, 0.0), "uniform needs low <= high, got low 1.0 and high 0.0"),
    (uniform, (float("nan"), 0.0), "low must be a finite float32 number, got nan"),
    (uniform, (0.0, float("inf")), "high must be a finite float32 number, got inf"),
    (uniform, (0.0, 1e39), "high must be a finite float32 number, got 1e\\+39"),
    (normal, (0.0, -1.0), "a normal law needs std >= 0, got -1.0"),
    (normal, (0.0, float("nan")), "std must be a finite float32 number, got nan"),
    (normal, (float("inf"), 1.0), "mean must be a finite float32 number, got inf"),
    (truncated_normal, (0.0, -1.0, -2.0, 2.0), "a normal law needs std >= 0, got -1.0"),
    (truncated_normal, (0.0, 1.0, 2.0, -2.0), "truncation needs lower < upper, got lower 2.0 and upper -2.0"),
    (truncated_normal, (0.0, 1.0, 2.0, 2.0), "truncation needs lower < upper, got lower 2.0 and upper 2.0"),
    (truncated_normal, (0.0, 1.0, float("nan"), 2.0), "truncation needs lower < upper, got lower nan"),
    (truncated_normal, (0.0, 1.0, float("inf"), float("inf")), "truncation needs lower < upper"),
]


@pytest.mark.parametrize(("fill", "numbers", "message"), REFUSED)
def test_impossible_numbers_are_refused_before_writing(fill, numbers, message):
    out = np.full(8, 7.0, np.float32)
    with pytest.raises(ArgumentError, match=message):
        fill(out, Stream(0), Region.whole((8,)), *numbers)
    assert (out == 7.0).all()


def frozen() -> np.ndarray:
    out = np.zeros(8, np.float32)
    out.flags.writeable = False
    return out


UNFIT = [
    (np.zeros(8, np.int32), "cannot fill dtype int32: use float32, float64, float16, uint16"),
    (np.zeros(8, np.dtype(np.float32).newbyteorder()), "in native byte order"),
    (np.zeros(16, np.float32)[::2], "out must be a writeable C-contiguous array of 8 elements"),
    (np.zeros(7, np.float32), r"array of 8 elements for the region of size \(8,\), got shape \(7,\)"),
    (frozen(), "out must be a writeable C-contiguous array"),
]


@pytest.mark.parametrize(("out", "message"), UNFIT)
def test_arrays_that_do_not_fit_are_refused(out, message):
    with pytest.raises(ArgumentError, match=message):
        normal(out, Stream(0), Region.whole((8,)), 0.0, 1.0)
    assert not out.any()


def test_words_want_uint32():
    with pytest.raises(ArgumentError, match="cannot fill dtype float32: use uint32"):
        words(np.zeros(8, np.float32), Stream(0), Region.whole((8,)))


def test_threads_must_be_positive():
    with pytest.raises(ArgumentError, match="threads must be at least 1, got 0"):
        normal(np.zeros(8, np.float32), Stream(0), Region.whole((8,)), 0.0, 1.0, threads=0)


def test_std_zero_gives_the_mean(draw):
    assert (draw(normal, 9, 0.7, 0.0) == np.float32(0.7)).all()
    assert (draw(truncated_normal, 9, 0.7, 0.0, float("-inf"), 2.0) == np.float32(0.7)).all()
    assert (draw(uniform, 9, 0.7, 0.7) == np.float32(0.7)).all()
