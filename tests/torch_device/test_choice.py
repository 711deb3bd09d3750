"""Which way values take, and that a device must prove its bits first."""

import pytest
import torch
from torch.overrides import TorchFunctionMode

from fanin.initializers import Constant, Normal, Orthogonal, TruncatedNormal, Uniform
from fanin.random import Region, Stream
from fanin.torch.device.choice import LEAST, fill_elsewhere, own_law, same_bits, trial
from fanin.torch.fill import fill

CPU, META = torch.device("cpu"), torch.device("meta")


@pytest.fixture(autouse=True)
def forget():
    trial.cache_clear()
    yield
    trial.cache_clear()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float8_e4m3fn], ids=str)
def test_torch_on_this_processor_gives_the_kernels_bits(dtype):
    for kind in (Uniform, Normal, TruncatedNormal):
        assert same_bits(CPU, kind, dtype, 1 << 16)


def test_a_trial_says_which_way_is_faster():
    assert trial(CPU, Uniform, torch.float32) == (True, False)  # the compiled kernel, by an order of magnitude


class FastMath(TorchFunctionMode):
    """A device that divides by multiplying with a reciprocal, as GPUs may under fast-math."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is torch.div:
            return args[0] * torch.reciprocal(args[1])
        return func(*args, **(kwargs or {}))


class Contracted(TorchFunctionMode):
    """A device on which each product is kept in full until it has been added: a fused multiply-add."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in (torch.Tensor.add, torch.Tensor.__radd__) and args[0].dtype is torch.float32:
            product = getattr(args[0], "product", None)
            if product is not None:
                return (product + args[1]).float()
        result = func(*args, **(kwargs or {}))
        if func in (torch.Tensor.mul, torch.Tensor.__rmul__) and result.dtype is torch.float32:
            left, right = (each.double() if isinstance(each, torch.Tensor) else float(each) for each in args)
            result.product = left * right
        return result


def test_a_device_with_other_bits_is_left_to_the_host():
    with FastMath():
        assert not same_bits(CPU, TruncatedNormal, torch.float32, 1 << 16)
    with Contracted():
        assert not same_bits(CPU, Normal, torch.float32, 1 << 16)


def test_a_device_that_lacks_an_operation_is_left_to_the_host():
    assert trial(META, Normal, torch.float32) == (False, False)  # nothing can be read from meta tensors


def test_only_large_tensors_of_laws_with_a_trial_are_tried():
    def tried(tensor, law):
        before = trial.cache_info().misses
        assert own_law(tensor, law, Region.whole(tuple(tensor.shape))) is None
        return trial.cache_info().misses > before

    large = torch.empty(LEAST, device=META)
    assert tried(large, Normal())
    assert not tried(large[1:], Uniform())
    assert not tried(large, Orthogonal())
    assert not tried(large.double(), TruncatedNormal(0.0, 1.0, 40.0, 41.0, corrected=False))
    assert not tried(torch.empty(LEAST), Uniform())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float8_e5m2], ids=str)
@pytest.mark.parametrize("value", [0.0, -0.0, 0.1, 1e-7])
def test_constants_are_rounded_on_the_host_and_spread_by_the_device(dtype, value):
    tensor = torch.ones(3, 2, dtype=dtype).T
    fill(tensor, Constant(value), Stream.named(0, "w"))
    wanted = torch.full((2, 3), value).to(dtype)
    assert torch.equal(tensor.contiguous().view(torch.uint8), wanted.view(torch.uint8))


def test_parameters_keep_their_version_and_no_graph():
    leaf = torch.nn.Parameter(torch.zeros(4, 3).T)
    for law in (Constant(1.0), Normal()):
        version = leaf._version
        with torch.no_grad():
            fill_elsewhere(leaf, law, Stream.named(0, "w"), Region.whole((3, 4)))
        assert leaf._version > version
        assert leaf.grad_fn is None
