"""Fillings without chance equal torch's, bit for bit, and take nothing from the generator."""

import itertools

import pytest
import torch

import fanin.torch.init as init

TORCH = torch.nn.init
DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.bool, torch.complex64]


@pytest.fixture(autouse=True)
def generator_stays():
    before = torch.get_rng_state()
    yield
    assert torch.equal(torch.get_rng_state(), before)


def garbage(shape, dtype=torch.float32):
    return torch.full(shape, 7.0).to(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (5,), (3, 4), (4, 3), (2, 3, 4)])
def test_constants_and_eye(dtype, shape):
    for name, arguments in [("ones_", ()), ("zeros_", ()), ("constant_", (0.3,)), ("eye_", ())]:
        if name == "eye_" and len(shape) != 2:
            continue
        tensor = garbage(shape, dtype)
        assert getattr(init, name)(tensor, *arguments) is tensor
        assert torch.equal(tensor, getattr(TORCH, name)(garbage(shape, dtype), *arguments))


@pytest.mark.parametrize("kernel", [(3,), (4,), (1, 3), (2, 5), (3, 3, 3), (2, 4, 1)])
def test_dirac(kernel):
    for (rows, columns), groups in itertools.product([(6, 6), (6, 2), (6, 9), (12, 1)], [1, 2, 3, -2]):
        for dtype in (torch.float32, torch.bfloat16, torch.int64):
            tensor = garbage((rows, columns, *kernel), dtype)
            assert init.dirac_(tensor, groups) is tensor
            assert torch.equal(tensor, TORCH.dirac_(garbage(tensor.shape, dtype), groups))


@pytest.mark.parametrize("shape", [(0, 3, 3), (3, 0, 3)])
def test_dirac_without_channels(shape):
    assert init.dirac_(torch.empty(shape)).shape == shape


def test_views_and_leaves_are_written_in_place():
    whole = garbage((4, 6))
    init.eye_(whole[:, ::2])
    init.constant_(whole[:, 1::2], 2.0)
    assert torch.equal(whole[:, ::2], torch.eye(4, 3))
    assert torch.equal(whole[:, 1::2], torch.full((4, 3), 2.0))
    leaf = torch.nn.Parameter(torch.zeros(4, 2, 3))
    init.dirac_(leaf)
    assert leaf.sum() == 2
    assert leaf.requires_grad
    assert leaf.is_leaf


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_identity_scales_eye_and_dirac(dtype):
    matrix, kernel = garbage((3, 5), dtype), garbage((6, 3, 3, 3), dtype)
    assert init.identity_(matrix, 0.5) is matrix
    assert torch.equal(matrix, 0.5 * torch.eye(3, 5).to(dtype))
    assert torch.equal(init.identity_(kernel, -2.0, groups=2), -2 * TORCH.dirac_(garbage(kernel.shape, dtype), 2))
    assert torch.equal(init.identity_(garbage((2, 2))), torch.eye(2))


def test_grouped_dirac_returns_its_input():
    x = torch.randn(2, 8, 5, 5, generator=torch.Generator().manual_seed(0))
    weight = init.dirac_(torch.empty(8, 2, 3, 3), groups=4)
    assert torch.equal(torch.nn.functional.conv2d(x, weight, padding=1, groups=4), x)
