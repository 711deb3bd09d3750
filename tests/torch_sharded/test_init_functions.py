"""fanin.torch.init on DTensors: the bits of the plain tensor, shard by shard."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard, distribute_tensor

import fanin.torch.init as init
from fanin.errors import PlanError
from fanin.torch.pieces import pieces_of

FUNCTIONS = {
    "normal_": partial(init.normal_, std=0.02),
    "uniform_": partial(init.uniform_, a=-1.0),
    "trunc_normal_": partial(init.trunc_normal_, std=0.02),
    "truncated_normal_": partial(init.truncated_normal_, std=0.02),
    "xavier_uniform_": init.xavier_uniform_,
    "kaiming_normal_": partial(init.kaiming_normal_, nonlinearity="relu"),
    "lecun_normal_": init.lecun_normal_,
    "variance_scaling_": partial(init.variance_scaling_, mode="fan_out"),
    "orthogonal_": init.orthogonal_,
    "sparse_": partial(init.sparse_, sparsity=0.5),
    "row_normalized_": init.row_normalized_,
    "eye_": init.eye_,
    "identity_": partial(init.identity_, gain=3.0),
    "zeros_": init.zeros_,
    "ones_": init.ones_,
    "constant_": partial(init.constant_, val=0.5),
}
KERNELS = {
    "dirac_": partial(init.dirac_, groups=2),
    "delta_orthogonal_": partial(init.delta_orthogonal_, groups=2),
    "kaiming_uniform_": init.kaiming_uniform_,
}
CASES = [(name, function, (9, 6)) for name, function in FUNCTIONS.items()]
CASES += [(name, function, (8, 4, 3)) for name, function in KERNELS.items()]


def part(whole, region):
    return whole[tuple(slice(a, a + n) for a, n in zip(region.start, region.size, strict=True))]


@pytest.mark.parametrize(("name", "function", "shape"), CASES, ids=[case[0] for case in CASES])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_dtensor_gets_the_bits_of_the_plain_tensor(world, name, function, shape, dtype):
    whole = torch.zeros(shape, dtype=dtype)
    torch.manual_seed(3)
    function(whole)
    after = torch.get_rng_state()
    for rank in range(4):
        with world(rank, (2, 2)) as mesh:
            tensor = distribute_tensor(torch.zeros(shape, dtype=dtype), mesh, [Shard(1), Shard(0)], src_data_rank=None)
            torch.manual_seed(3)
            assert function(tensor) is tensor
            assert torch.equal(torch.get_rng_state(), after), "the generator moves as for the plain tensor"
            for piece in pieces_of(tensor):
                assert torch.equal(piece.memory, part(whole, piece.region)), name


def test_complex_tensors(world):
    whole = torch.zeros(5, 3, dtype=torch.complex64)
    init.normal_(whole, generator=torch.Generator().manual_seed(1))
    with world(1, (2,)) as mesh:
        tensor = distribute_tensor(torch.zeros_like(whole), mesh, [Shard(0)], src_data_rank=None)
        init.normal_(tensor, generator=torch.Generator().manual_seed(1))
        assert torch.equal(tensor.to_local(), whole[3:])


def test_torchtitan_style_partials_on_a_sharded_module(world):
    """A `param_init` table of partials, called by parameter on what `fully_shard` and `to_empty` left."""
    param_init = {"weight": partial(init.trunc_normal_, std=0.02), "bias": init.zeros_}

    def initialized(module):
        torch.manual_seed(11)
        for name, parameter in module.named_parameters():
            param_init[name](parameter)
        return module

    whole = initialized(nn.Linear(7, 9))
    for rank in range(2):
        with world(rank, (2,)) as mesh:
            with torch.device("meta"):
                module = nn.Linear(7, 9)
            module = initialized(fully_shard(module, mesh=mesh).to_empty(device="cpu"))
            for name, parameter in module.named_parameters():
                assert parameter.requires_grad
                (piece,) = pieces_of(parameter)
                assert torch.equal(piece.memory, part(whole.get_parameter(name), piece.region))


def test_a_partial_dtensor_is_refused(world):
    with world(0, (2,)) as mesh:
        tensor = DTensor.from_local(torch.zeros(3, 3), mesh, [Partial()])
        for function in (init.normal_, init.orthogonal_, init.eye_):
            with pytest.raises(PlanError, match="redistribute it to Shard or Replicate first"):
                function(tensor)
        assert bool((tensor.to_local() == 0).all())


def test_a_meta_dtensor_stays_without_values(world):
    with world(0, (2,)) as mesh:
        tensor = DTensor.from_local(torch.empty(3, 3, device="meta"), mesh, [Replicate()])
        before = torch.get_rng_state()
        for function in (init.eye_, init.zeros_, init.ones_):
            assert function(tensor) is tensor
        with pytest.warns(UserWarning, match="DTensor random operators"):  # torch's own, to which the call goes
            init.normal_(tensor)
        assert tensor.is_meta
        assert torch.equal(torch.get_rng_state(), before)
