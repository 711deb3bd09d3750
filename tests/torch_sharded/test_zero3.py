"""Parameters under DeepSpeed's ZeRO-3: written by partition, or refused; never left as they are in silence.

DeepSpeed itself is no dependency. The stand-in below has the layout of its `deepspeed/runtime/zero/
partition_parameters.py` (`Init._convert_to_deepspeed_param`, `Init._partition_param`, `free_param`,
`Init._aligned_size`): the parameter's own memory becomes a tensor of size 0; `ds_shape`, `ds_numel`, `ds_id`,
`ds_status` and `ds_process_group` stay on it; `ds_tensor` is rank r's run of the flattened tensor, padded to one size
on all ranks, with `ds_numel`, `status` and `final_location` of its own.
"""

from __future__ import annotations

from enum import Enum
from math import prod

import pytest
import torch
import torch.distributed as dist
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

import fanin
import fanin.torch.init as init
from fanin.errors import PlanError
from fanin.initializers import Normal, Orthogonal
from fanin.torch.pieces import is_part, pieces_of, refusal, shape_of
from fanin.torch.tensors import stored_tensors


class ZeroParamStatus(Enum):
    AVAILABLE = 1
    NOT_AVAILABLE = 2
    INFLIGHT = 3


class PartitionedParamStatus(Enum):
    AVAILABLE = 1
    NOT_AVAILABLE = 2


def partition(parameter: nn.Parameter, number: int = 0) -> nn.Parameter:
    """Partition over the process group of now, as ZeRO-3 does to every parameter of a model."""
    ranks, rank = dist.get_world_size(), dist.get_rank()
    parameter.ds_shape, parameter.ds_numel, parameter.ds_id = parameter.shape, parameter.numel(), number
    parameter.ds_process_group = dist.group.WORLD
    parameter.ds_secondary_tensor = None
    size = -(-parameter.numel() // ranks)
    part = torch.full((size,), 7.0, dtype=parameter.dtype)
    own = parameter.data.flatten()[rank * size : (rank + 1) * size]
    part[: own.numel()].copy_(own)
    part.ds_numel, part.status, part.final_location = size, PartitionedParamStatus.AVAILABLE, None
    parameter.ds_tensor = part
    parameter.ds_status = ZeroParamStatus.NOT_AVAILABLE
    parameter.data = torch.empty(0, dtype=parameter.dtype)
    return parameter


def gather(parameter: nn.Parameter) -> None:
    """What `GatheredParameters` leaves while it is open; the other ranks' values do not matter here."""
    parameter.data = torch.zeros(parameter.ds_shape, dtype=parameter.dtype)
    parameter.ds_status = ZeroParamStatus.AVAILABLE


def let_go(parameter: nn.Parameter) -> None:
    """What leaving `GatheredParameters` without a modifier rank does: the partition stays what it was."""
    parameter.data = torch.empty(0, dtype=parameter.dtype)
    parameter.ds_status = ZeroParamStatus.NOT_AVAILABLE


def make() -> nn.Sequential:
    return nn.Sequential(nn.Linear(5, 7), nn.LayerNorm(7), nn.Conv1d(3, 4, 3), nn.BatchNorm1d(4))


def partitioned() -> nn.Sequential:
    model = make()
    for number, parameter in enumerate(model.parameters()):
        partition(parameter, number)
    return model


@pytest.fixture(scope="module")
def plan():
    return fanin.plan(make).override({"0.weight": Orthogonal(), "2.bias": Normal(std=1.0)})


@pytest.fixture(scope="module")
def truth(plan):
    return {item.name: item.tensor.detach() for item in stored_tensors(fanin.materialize(make(), plan, seed=8))}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(1, 6), max_size=4).map(tuple), st.integers(1, 5))
def test_every_rank_holds_its_run_of_the_flattened_tensor(world, shape, ranks):
    whole = torch.arange(prod(shape), dtype=torch.float32).view(shape)
    found = torch.full_like(whole, -1.0)
    for rank in range(ranks):
        with world(rank, (ranks,)):
            parameter = partition(nn.Parameter(whole.clone()))
            assert is_part(parameter)
            assert shape_of(parameter) == shape
            pieces = pieces_of(parameter)
            assert len(pieces) <= max(1, 2 * len(shape) - 1)
            for piece in pieces:
                where = tuple(slice(a, a + n) for a, n in zip(piece.region.start, piece.region.size, strict=True))
                assert torch.equal(piece.memory, whole[where])
                found[where] = piece.memory
                assert piece.memory.untyped_storage().data_ptr() == parameter.ds_tensor.untyped_storage().data_ptr()
    assert torch.equal(found, whole)


@pytest.mark.parametrize("ranks", [2, 3])
def test_materialize_writes_each_ranks_partition(world, plan, truth, ranks):
    runs: dict[str, list[torch.Tensor]] = {}
    for rank in range(ranks):
        with world(rank, (ranks,)):
            model = partitioned()
            parameters = list(model.parameters())
            fanin.materialize(model, plan, seed=8)
            assert all(one is other for one, other in zip(model.parameters(), parameters, strict=True))
            for name, parameter in model.named_parameters():
                assert parameter.numel() == 0
                assert parameter.ds_shape == truth[name].shape
                runs.setdefault(name, []).append(parameter.ds_tensor.clone())
            assert torch.equal(model[3].running_var, truth["3.running_var"])
    for name, parts in runs.items():
        flat = torch.cat(parts)
        assert torch.equal(flat[: truth[name].numel()], truth[name].flatten()), name
        assert bool((flat[truth[name].numel() :] == 7.0).all()), "padding is not the tensor's"


def test_module_init_writes_partitions_too(world, plan, truth):
    with world(1, (2,)):
        model = partitioned()
        model.apply(fanin.module_init(model, plan, seed=8))
        for name, parameter in model.named_parameters():
            size, numel = parameter.ds_tensor.numel(), truth[name].numel()
            expected = truth[name].flatten()[size:]
            assert torch.equal(parameter.ds_tensor[: numel - size], expected), name


def test_what_is_gathered_outlives_letting_go(world, plan, truth):
    """DeepSpeed keeps the partition, not the gathered values, unless one rank is named as the modifier."""
    with world(1, (2,)):
        model = partitioned()
        for parameter in model.parameters():
            gather(parameter)
        fanin.materialize(model, plan, seed=8)
        assert torch.equal(model[0].weight, truth["0.weight"])
        for name, parameter in model.named_parameters():
            let_go(parameter)
            size, numel = parameter.ds_tensor.numel(), truth[name].numel()
            assert torch.equal(parameter.ds_tensor[: numel - size], truth[name].flatten()[size:]), name


def broken(parameter: nn.Parameter, **attributes) -> str:
    for name, value in attributes.items():
        holder, _, key = name.rpartition("__")
        setattr(getattr(parameter, holder) if holder else parameter, key, value)
    return refusal(parameter) or ""


def test_partitions_that_cannot_be_written_are_refused(world, plan):
    with world(0, (2,)):
        new = lambda: partition(nn.Parameter(torch.zeros(5, 3)))  # noqa: E731
        assert refusal(new()) is None
        assert "(shape (5, 3)), and has no partition here yet" in broken(new(), ds_tensor=None)
        assert "INFLIGHT: wait until" in broken(new(), ds_status=ZeroParamStatus.INFLIGHT)
        assert "its partition is offloaded to a disk" in broken(new(), ds_tensor__final_location="nvme")
        assert "offloaded to a disk" in broken(new(), ds_tensor__status=PartitionedParamStatus.NOT_AVAILABLE)
        assert "its partition is quantised" in broken(new(), ds_tensor__ds_quant_scale=torch.ones(1))
        assert "second partition (hpZ)" in broken(new(), ds_secondary_tensor=torch.zeros(4))
        assert "its process group is not known here" in broken(new(), ds_process_group=None)
        assert "has 8 elements where 2 processes would have 8 each" not in broken(new())
        assert "has 4 elements where 2 processes would have 8 each" in broken(
            new(), ds_tensor=partition(nn.Parameter(torch.zeros(8))).ds_tensor
        )
        model = make()
        broken(partition(model[0].weight), ds_tensor__final_location="nvme")
        before = model[0].bias.clone()
        with pytest.raises(PlanError, match=r"'0\.weight' is partitioned by DeepSpeed ZeRO-3.*GatheredParameters"):
            fanin.materialize(model, plan)
        assert torch.equal(model[0].bias, before), "nothing is written"


FUNCTIONS = {
    "normal_": init.normal_,
    "trunc_normal_": init.trunc_normal_,
    "kaiming_uniform_": init.kaiming_uniform_,
    "xavier_normal_": init.xavier_normal_,
    "orthogonal_": init.orthogonal_,
    "zeros_": init.zeros_,
    "ones_": init.ones_,
    "constant_": lambda tensor: init.constant_(tensor, 2.0),
    "eye_": init.eye_,
    "dirac_": init.dirac_,
}


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_init_functions_are_no_silent_no_op(world, function):
    """DeepSpeed#2650: `nn.init` functions ran on tensors of size 0 and left the model as it was."""
    with world(0, (2,)):
        parameter = partition(nn.Parameter(torch.zeros(4, 4)))
        with pytest.raises(PlanError, match=r"parameter of shape \(4, 4\) is partitioned by DeepSpeed ZeRO-3"):
            function(parameter)


@pytest.mark.parametrize("gathered", [False, True])
def test_sizes_cannot_change(world, gathered):
    with world(0, (2,)):
        model = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 9))
        for number, parameter in enumerate(model.parameters()):
            partition(parameter, number)
            if gathered:
                gather(parameter)
        told = (
            r"ZeRO-3 has partitioned '0.weight' \(shape \(9, 4\)\), and keeps its size: change the whole model before"
        )
        for change in (fanin.extend_vocabulary, fanin.new_head):
            with pytest.raises(PlanError, match=told):
                change(model, 3)
