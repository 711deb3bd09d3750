"""One read: every number exact, for every dtype, layout and place; equal units found and only they."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from fanin.auditing.fresh import is_plain
from fanin.auditing.look import looked
from fanin.auditing.units import looked_through
from fanin.axes import Axes

FLOATS = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


def drawn(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1)).to(dtype)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", [(1, 1), (7, 3), (300, 1000), (3, 70_000), (200_003,), (4, 5, 6)])
def test_moments_are_those_of_the_values(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    tensor = drawn(*shape, dtype=dtype) * 3 + 0.5
    numbers, wide = looked(tensor).numbers, tensor.double()
    assert numbers.count == numbers.finite == tensor.numel()
    assert numbers.mean == pytest.approx(float(wide.mean()), rel=1e-9, abs=1e-12)
    assert numbers.std == pytest.approx(float(wide.std(correction=0)), rel=1e-7, abs=1e-12)
    assert (numbers.low, numbers.high) == (float(wide.min()), float(wide.max()))
    if tensor.numel() > 1:
        fourth = float(((wide - wide.mean()) ** 4).mean() / wide.var(correction=0) ** 2)
        assert numbers.kurtosis == pytest.approx(fourth, rel=1e-6)


@pytest.mark.parametrize("dtype", FLOATS)
def test_odd_values_are_counted(dtype: torch.dtype) -> None:
    tensor = drawn(100, 100, dtype=dtype)
    least = torch.finfo(dtype).tiny
    tensor[0, :8] = torch.tensor([math.nan, math.inf, -math.inf, 0.0, -0.0, least / 4, -least / 2, least], dtype=dtype)
    numbers = looked(tensor).numbers
    assert (numbers.nan, numbers.infinite, numbers.zeros) == (1, 2, 2)
    assert numbers.small == int(((tensor.abs() < least) & (tensor != 0)).sum()) >= 2
    assert numbers.finite == 9997
    assert math.isfinite(numbers.std)
    assert numbers.mean == pytest.approx(float(tensor.double()[tensor.isfinite()].mean()), rel=1e-9)


def test_denormals_of_eight_bits_are_counted() -> None:
    for dtype in (torch.float8_e5m2, torch.float8_e4m3fn):
        least = torch.finfo(dtype).smallest_normal
        tensor = torch.tensor([0.0, least / 2, -least / 2, least, 1.0]).to(dtype)
        assert (looked(tensor).numbers.zeros, looked(tensor).numbers.small) == (1, 2)


def test_huge_values_are_counted() -> None:
    tensor = drawn(64, 64)
    tensor[3, 3] = 2e30
    assert looked(tensor).numbers.huge == 1
    tensor[3, 3] = 5e29
    assert looked(tensor).numbers.huge == 0


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("columns", [False, True])
def test_hashes_tell_units_apart(dtype: torch.dtype, columns: bool) -> None:
    matrix = drawn(500, 400, dtype=dtype)
    matrix[7] = matrix[450]
    tensor = matrix.T.contiguous() if columns else matrix
    hashes = looked(tensor, columns).hashes
    assert hashes[7] == hashes[450]
    assert len(np.unique(hashes)) == 499
    tensor[(3, 7) if columns else (7, 3)] += 1
    assert len(np.unique(looked(tensor, columns).hashes)) == 500


def test_hash_of_a_tensor_knows_places_and_bits() -> None:
    tensor = drawn(600, 700)
    before = looked(tensor).numbers.bits
    assert looked(tensor.clone()).numbers.bits == before
    swapped = tensor.clone()
    swapped[[0, 1]] = tensor[[1, 0]]
    assert looked(swapped).numbers.bits != before
    mirrored = looked(tensor.flip(1))
    assert mirrored.numbers.bits != before
    assert len(np.intersect1d(mirrored.hashes, looked(tensor).hashes)) == 0
    flipped = tensor.clone()
    flipped[599, 699] = -flipped[599, 699]
    assert looked(flipped).numbers.bits != before
    assert looked(tensor.view(-1)).numbers.bits == looked(tensor.view(-1).clone()).numbers.bits


@pytest.mark.parametrize(
    ("shape", "axes", "pair"),
    [
        ((40, 30), None, (3, 9)),
        ((30, 40), Axes((30, 40), outputs=(1,), inputs=(0,)), (3, 9)),
        ((40, 6, 3, 3), Axes.conv((40, 6, 3, 3)), (3, 9)),
        ((6, 40, 3, 3), Axes.conv_transpose((6, 40, 3, 3)), (3, 9)),
        ((4, 10, 30), Axes((4, 10, 30), outputs=(1,), inputs=(2,), batch=(0,)), (3, 9)),
        ((4, 30, 10), Axes((4, 30, 10), outputs=(2,), inputs=(1,), batch=(0,)), (3, 9)),
    ],
)
def test_units_lie_along_the_outputs(shape: tuple[int, ...], axes: Axes | None, pair: tuple[int, int]) -> None:
    tensor = drawn(*shape)
    assert looked_through(tensor, axes)[1].equal == 0
    output = 0 if axes is None else axes.outputs[0]
    whole = tensor[0] if axes is not None and axes.batch else tensor
    place = output - 1 if axes is not None and axes.batch else output
    whole.select(place, pair[0]).copy_(whole.select(place, pair[1]))
    twins = looked_through(tensor, axes)[1]
    assert (twins.equal, twins.first, twins.second) == (2, *pair)


def test_experts_are_compared_whole() -> None:
    axes = Axes((4, 10, 30), outputs=(1,), inputs=(2,), batch=(0,))
    tensor = drawn(4, 10, 30)
    assert looked_through(tensor, axes)[2].equal == 0
    tensor[3, :9] = tensor[1, :9]
    assert looked_through(tensor, axes)[2].equal == 0
    tensor[3] = tensor[1]
    _, twins, experts = looked_through(tensor, axes)
    assert (experts.equal, experts.first, experts.second) == (2, 1, 3)
    assert twins.equal == 0  # that is said of the experts


def test_zero_units_and_short_units_are_no_twins() -> None:
    tensor = drawn(40, 30)
    tensor[[4, 5, 6]] = 0
    assert looked_through(tensor, None)[1].equal == 0
    assert looked_through(drawn(5000, 2, dtype=torch.bfloat16), None)[1] is None


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64, torch.float8_e4m3fn])
def test_other_dtypes_are_read(dtype: torch.dtype) -> None:
    tensor = (drawn(50, 40) > 0).to(torch.float32).to(dtype)
    numbers = looked(tensor).numbers
    assert numbers.nan == 0
    assert numbers.high == 1.0


def test_strides_do_not_matter() -> None:
    tensor = drawn(60, 80)
    assert looked(tensor.T.contiguous().T).numbers == looked(tensor).numbers
    assert looked(drawn(0, 5)).numbers.count == 0


def test_uniform_and_normal_values_have_the_shape_of_a_law_and_others_have_not() -> None:
    generator = torch.Generator().manual_seed(3)
    for _ in range(400):
        assert is_plain(looked(torch.rand(1024, generator=generator)).numbers)
        assert is_plain(looked(torch.randn(1024, generator=generator)).numbers)
    signs = torch.randn(1024, generator=generator).sign()
    assert not is_plain(looked(signs).numbers)
    assert not is_plain(looked(torch.randn(1024, generator=generator) ** 3).numbers)
