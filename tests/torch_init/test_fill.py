"""The bridge: any initializer into any tensor."""

import functools

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from fanin.errors import ArgumentError
from fanin.initializers import Constant, Normal, Orthogonal, Uniform
from fanin.random import Region, Stream
from fanin.torch.device import choice
from fanin.torch.device.host import fill_through_host
from fanin.torch.fill import as_array, fill, is_direct

LAW, STREAM = Normal(0.0, 0.5), Stream.named(1, "w")


def reference(shape, dtype=np.float32, law=LAW):
    out = np.empty(shape, dtype)
    law.fill(out, STREAM, Region.whole(shape))
    return out


@pytest.mark.parametrize(
    ("dtype", "array"),
    [(torch.float32, "f4"), (torch.float64, "f8"), (torch.float16, "f2"), (torch.bfloat16, "u2")],
    ids=str,
)
def test_bits_are_those_of_the_initializer(dtype, array):
    tensor = torch.empty(5, 7, dtype=dtype)
    assert is_direct(tensor)
    fill(tensor, LAW, STREAM, threads=2)
    assert np.array_equal(as_array(tensor), reference((5, 7), array))


def in_blocks(values, monkeypatch):
    monkeypatch.setattr(choice, "fill_through_host", functools.partial(fill_through_host, block_bytes=4 * values))


@pytest.mark.parametrize("values", [1, 10, 1 << 24])
@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.empty(7, 5).T,
        lambda: torch.empty(5, 14)[:, ::2],
        lambda: torch._neg_view(torch.empty(5, 7)),
        lambda: torch.empty(1, 5, 7).movedim(0, 2)[:, :, 0],
    ],
)
def test_other_layouts_in_any_blocks(make, values, monkeypatch):
    in_blocks(values, monkeypatch)
    for law in (LAW, Orthogonal()):
        tensor = make()
        version = tensor._version
        fill(tensor, law, STREAM)
        assert np.array_equal(tensor.resolve_neg().numpy(), reference((5, 7), law=law))
        assert tensor._version > version


def test_float8_is_rounded_once_from_float32():
    tensor = torch.empty(5, 7, dtype=torch.float8_e4m3fn)
    fill(tensor, LAW, STREAM)
    assert torch.equal(tensor.float(), torch.from_numpy(reference((5, 7))).to(torch.float8_e4m3fn).float())


@pytest.mark.parametrize("values", [4, 1 << 24])
def test_regions(values, monkeypatch):
    in_blocks(values, monkeypatch)
    whole = reference((8, 9))
    part = torch.empty(3, 4)
    fill(part, LAW, STREAM, region=Region((8, 9), (4, 5), (3, 4)))
    assert np.array_equal(part.numpy(), whole[4:7, 5:9])
    strided = torch.empty(4, 3).T
    fill(strided, LAW, STREAM, region=Region((8, 9), (4, 5), (3, 4)))
    assert torch.equal(strided, part)


@pytest.mark.parametrize(
    ("dtype", "value"),
    [(torch.int64, 2**53 + 1), (torch.int32, -3), (torch.bool, True), (torch.complex64, 0.5), (torch.uint8, 255)],
)
def test_constants_fit_every_dtype(dtype, value):
    tensor = torch.zeros(3, dtype=dtype)
    fill(tensor, Constant(value), STREAM)
    assert torch.equal(tensor, torch.full((3,), value, dtype=dtype))


def test_scalars_and_empty_tensors():
    scalar = torch.tensor(7.0)
    fill(scalar, Uniform(0.0, 1.0), STREAM)
    assert 0 <= float(scalar) < 1
    fill(torch.empty(0, 3), LAW, STREAM)


def test_leaves():
    leaf = torch.nn.Parameter(torch.zeros(5, 7))
    fill(leaf, LAW, STREAM)
    assert np.array_equal(leaf.detach().numpy(), reference((5, 7)))
    assert leaf._version > 0


def refused(tensor, law=LAW, **arguments):
    with pytest.raises(ArgumentError) as caught:
        fill(tensor, law, STREAM, **arguments)
    return str(caught.value)


def test_refusals():
    with FakeTensorMode():
        fake = torch.empty(2, 3)
    nothing = "it has no memory; materialize it first"
    assert refused(torch.empty(2, 3, device="meta")) == f"cannot fill a meta tensor of shape (2, 3): {nothing}"
    assert refused(fake) == f"cannot fill a fake tensor of shape (2, 3): {nothing}"
    assert refused(torch.empty(2, 3, dtype=torch.int64)) == (
        "cannot fill a tensor of dtype torch.int64 with Normal(mean=0, std=0.5): only constants fit this dtype"
    )
    assert refused(torch.empty(2, 3), region=Region.whole((3, 2))) == (
        "the tensor has shape (2, 3), but its region has size (3, 2)"
    )
