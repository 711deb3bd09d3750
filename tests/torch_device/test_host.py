"""Blocks drawn on the host: all values, bounded memory, each buffer free before it is used again."""

import time
from concurrent.futures import ThreadPoolExecutor
from math import prod
from threading import Event

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from fanin.initializers import Constant, Mirrored, Normal, Orthogonal, Sparse, TruncatedNormal
from fanin.random import Region, Stream
from fanin.torch.device.arrays import as_array
from fanin.torch.device.blocks import blocks
from fanin.torch.device.copies import PlainCopies
from fanin.torch.device.host import fill_through_host

LAW, STREAM = Normal(0.0, 0.5), Stream.named(1, "w")
DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]


def directly(law, part, dtype=torch.float32):
    out = torch.empty(part.size, dtype=dtype)
    law.fill(as_array(out), STREAM, part)
    return out


class LateCopies:
    """A slow device: no copy is done before the next has been asked for, while its buffer could be drawn into."""

    buffers = 2

    def __init__(self, fails_at=None):
        self.pool, self.fails_at = ThreadPoolExecutor(1), fails_at
        self.sizes, self.asked, self.overlapped, self.done = [], [Event()], [], 0

    def memory(self, count, dtype):
        self.sizes.append(count * dtype.itemsize)
        return torch.empty(count, dtype=dtype)

    def start(self, target, host):
        number = len(self.asked) - 1
        if number == self.fails_at:
            raise RuntimeError("the device is gone")
        self.asked[number].set()
        self.asked.append(Event())
        return self.pool.submit(self._copy, number, target, host).result

    def _copy(self, number, target, host):
        self.overlapped.append(self.asked[number + 1].wait(0.3))
        time.sleep(0.01)
        target.copy_(host)
        self.done += 1


@pytest.mark.parametrize("dtype", [*DTYPES, torch.float8_e4m3fn, torch.float8_e5m2], ids=str)
def test_the_next_block_is_drawn_while_one_is_copied(dtype):
    part, copies = Region.whole((7, 90)), LateCopies()
    tensor = torch.zeros(90, 7, dtype=dtype).T
    size = 4 if dtype.itemsize == 1 else dtype.itemsize
    fill_through_host(tensor, LAW, STREAM, part, copies=copies, block_bytes=100 * size)
    native = dtype if dtype.itemsize > 1 else torch.float32
    assert torch.equal(tensor.to(torch.float64), directly(LAW, part, native).to(dtype).to(torch.float64))
    assert copies.sizes == [100 * dtype.itemsize] * 2
    assert copies.overlapped == [True] * 6 + [False]  # after the last block there is nothing to draw
    assert copies.done == 7


def test_copies_that_run_are_waited_for_when_something_fails():
    copies = LateCopies(fails_at=2)
    with pytest.raises(RuntimeError, match="the device is gone"):
        fill_through_host(
            torch.empty(500).view(5, 100), LAW, STREAM, Region.whole((5, 100)), copies=copies, block_bytes=400
        )
    assert copies.done == 2


class Allocations(TorchDispatchMode):
    """The bytes of every tensor that torch makes meanwhile."""

    def __init__(self):
        super().__init__()
        self.bytes = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if func._overloadpacket in (torch.ops.aten.empty, torch.ops.aten.clone, torch.ops.aten._to_copy):
            self.bytes.append(result.untyped_storage().nbytes())
        return result


@pytest.mark.parametrize("shape", [(1, 200_000), (200_000, 1), (2, 100, 1000), (200_000,)])
def test_memory_is_one_block_whatever_the_shape(shape):
    tensor = torch.zeros(*shape[:-1], 2 * shape[-1])[..., ::2]
    with Allocations() as seen:
        fill_through_host(tensor, LAW, STREAM, Region.whole(shape), block_bytes=1 << 16)
    assert sum(seen.bytes) <= 1 << 16
    assert torch.equal(tensor, directly(LAW, Region.whole(shape)))


def test_a_float8_tensor_needs_one_block_of_float32_more():
    tensor = torch.zeros(100_000, dtype=torch.float8_e5m2)
    with Allocations() as seen:
        fill_through_host(tensor, LAW, STREAM, Region.whole((100_000,)), block_bytes=1 << 16)
    assert max(seen.bytes) <= 1 << 16


@pytest.mark.parametrize(
    "law", [Orthogonal(), Mirrored(LAW), Sparse(0.3, 0.1), TruncatedNormal(), Constant(-0.0)], ids=repr
)
@pytest.mark.parametrize("copies", [PlainCopies, LateCopies])
def test_every_kind_of_law(law, copies):
    part = Region.whole((12, 10))
    tensor = torch.zeros(10, 12).T
    fill_through_host(tensor, law, STREAM, part, copies=copies(), block_bytes=160)
    assert torch.equal(tensor.contiguous().view(torch.int32), directly(law, part).view(torch.int32))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 6), st.integers(0, 3), st.integers(0, 3)), max_size=4), st.integers(1, 50))
def test_blocks_are_a_partition_in_order(axes, most):
    size, start, rest = ([axis[k] for axis in axes] for k in range(3))
    shape = [sum(each) for each in zip(size, start, rest, strict=True)]
    whole = np.arange(prod(shape)).reshape(shape)
    part = Region(tuple(shape), tuple(start), tuple(size))
    wanted = whole[tuple(slice(a, a + n) for a, n in zip(start, size, strict=True))]
    seen = []
    for index, piece in blocks(part, most):
        assert 0 < piece.numel <= most
        there = whole[tuple(slice(a, a + n) for a, n in zip(piece.start, piece.size, strict=True))]
        assert np.array_equal(wanted[index], there)
        seen.append(there.ravel())
    assert np.array_equal(np.concatenate(seen), wanted.ravel())


def test_small_tensors_take_one_small_buffer_each():
    with Allocations() as seen:
        for _ in range(100):
            fill_through_host(torch.zeros(8, 8).T, LAW, STREAM, Region.whole((8, 8)))
    assert max(seen.bytes) <= 256
