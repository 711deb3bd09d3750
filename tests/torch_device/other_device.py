"""A device type that is not the CPU: a backend of torch in Python whose tensors keep their values where only it looks.

Registering one lasts as long as the process, so the tests run this file in a process of its own.
"""

import sys

import torch
from torch import nn
from torch.utils._pytree import tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

from fanin.initializers import Constant, Normal, Orthogonal, Uniform
from fanin.random import Region, Stream
from fanin.torch.capture import capture
from fanin.torch.device.choice import LEAST, trial
from fanin.torch.device.host import fill_through_host
from fanin.torch.fill import fill
from fanin.torch.materialize import materialize

_setup_privateuseone_for_python_backend("toy")
LIBRARY = torch.library.Library("_", "IMPL")
VALUES = {}
"""By storage, kept alive with it: Python attributes would not follow a tensor into a parameter."""


def toy(values):
    """A tensor of the device with these values."""
    made = torch._C._acc.create_empty_tensor(tuple(values.shape), values.dtype)
    VALUES[made.untyped_storage()._cdata] = values, made.untyped_storage()
    return made


def raw(tensor):
    return VALUES[tensor.untyped_storage()._cdata][0]


def values_of(item):
    if isinstance(item, torch.device):
        return torch.device("cpu")
    return raw(item) if isinstance(item, torch.Tensor) and item.device.type == "toy" else item


def run(op, *args, **kwargs):
    """Any operation: on the values, whose results are the device's again; what is written in place stays itself."""
    given = {id(values_of(each)): each for each in args if isinstance(each, torch.Tensor)}
    result = op(*tree_map(values_of, args), **tree_map(values_of, kwargs))

    def back(each):
        return given[id(each)] if id(each) in given else toy(each) if isinstance(each, torch.Tensor) else each

    return tree_map(back, result)


def copy_from(source, target, non_blocking=False):
    values_of(target).copy_(values_of(source))
    return target


LIBRARY.fallback(run, "PrivateUse1")
torch.library.impl("aten::_copy_from", "privateuseone")(copy_from)


def same(there, here):
    assert there.device.type == "toy"
    assert torch.equal(raw(there).reshape(-1).view(torch.uint8), here.reshape(-1).view(torch.uint8))


def both(law, dtype, write):
    there, here = torch.empty(300, 70, dtype=dtype, device="toy"), torch.empty(300, 70, dtype=dtype)
    fill(here, law, Stream.named(0, "w"))
    write(there)
    same(there, here)


def fills():
    part, stream = Region.whole((300, 70)), Stream.named(0, "w")
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        for law in (Normal(0.0, 0.02), Uniform(), Orthogonal(), Constant(0.1)):
            both(law, dtype, lambda tensor, law=law: fill(tensor, law, stream))
        both(Normal(), dtype, lambda tensor: fill_through_host(tensor, Normal(), stream, part, block_bytes=5000))


def large_tensors():
    """The device lacks much (arithmetic with a number fails), so the trial leaves it to the host."""
    large, here = torch.empty(LEAST, device="toy"), torch.empty(LEAST)
    fill(large, Uniform(), Stream.named(0, "w"))
    fill(here, Uniform(), Stream.named(0, "w"))
    same(large, here)
    assert trial.cache_info().misses == 1
    assert trial(large.device, Uniform, torch.float32) == (False, False)


def models():
    def make():
        return nn.Sequential(nn.Embedding(30, 16), nn.Linear(16, 32), nn.BatchNorm1d(32))

    plan = capture(make).plan
    here = materialize(capture(make).model, plan, seed=3).state_dict()
    there = materialize(capture(make).model, plan, seed=3, device="toy")
    named = dict([*there.named_parameters(), *there.named_buffers()])
    assert named.keys() == here.keys()
    for name, tensor in named.items():
        same(tensor, here[name])


if __name__ == "__main__":
    fills()
    large_tensors()
    models()
    sys.stdout.write("fills, a large tensor, a model\n")
