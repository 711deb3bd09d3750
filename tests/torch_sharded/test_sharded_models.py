"""materialize and plan on models under FSDP2 and tensor parallelism, rank by rank in one process."""

from __future__ import annotations

import weakref
from math import prod

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import fanin
from fanin.errors import PlanError
from fanin.initializers import Constant, Normal, Orthogonal
from fanin.torch.pieces import pieces_of
from fanin.torch.tensors import stored_tensors

RANKS = range(4)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(6)
        self.up = nn.Linear(6, 11)
        self.down = nn.Linear(11, 6, bias=False)

    def forward(self, x):
        return x + self.down(torch.relu(self.up(self.norm(x))))


class Net(nn.Module):
    """Tied weights, ragged sizes, a matrix law, a copied tensor, a computed buffer, a frozen tensor."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(13, 6, padding_idx=1)
        self.blocks = nn.ModuleList([Block() for _ in range(2)])
        self.matrix = nn.Linear(6, 6, bias=False)
        nn.init.orthogonal_(self.matrix.weight)
        self.slow = nn.Parameter(torch.arange(1.0, 8.0).log(), requires_grad=False)
        self.head = nn.Linear(6, 13, bias=False)
        self.head.weight = self.embedding.weight
        self.register_buffer("table", torch.arange(9.0).sin(), persistent=False)

    def forward(self, tokens):
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x)
        return self.head(self.matrix(x)) * self.table[1]


def sharded(model: Net, mesh) -> Net:
    """Tensor parallelism along the last dimension of the mesh where it has one, FSDP2 along the others."""
    names = mesh.mesh_dim_names
    if len(names) > 1:
        for block in model.blocks:
            layout = {"up": ColwiseParallel(), "down": RowwiseParallel()}
            parallelize_module(block, mesh[names[-1]], layout, src_data_rank=None)
        mesh = mesh[names[:-1]]
    for block in model.blocks:
        fully_shard(block, mesh=mesh)
    return fully_shard(model, mesh=mesh)


def blank() -> Net:
    with torch.device("meta"):
        return Net()


@pytest.fixture(scope="module")
def plan():
    return fanin.plan(Net).override({"blocks.0.up.weight": Orthogonal(gain=2.0)})


@pytest.fixture(scope="module")
def truth(plan):
    return {item.name: item.tensor.detach() for item in stored_tensors(fanin.materialize(Net(), plan, seed=4))}


def assert_shards_of(model: nn.Module, truth: dict[str, torch.Tensor]) -> dict[str, int]:
    """Every piece has the bits of the whole tensor; how many elements of each tensor this rank holds."""
    held = {}
    for item in stored_tensors(model):
        for piece in pieces_of(item.tensor):
            where = tuple(slice(a, a + n) for a, n in zip(piece.region.start, piece.region.size, strict=True))
            assert torch.equal(piece.memory, truth[item.name][where]), item.name
            held[item.name] = held.get(item.name, 0) + piece.region.numel
    assert [item.name for item in stored_tensors(model)] == list(truth)
    return held


@pytest.mark.parametrize("start", [blank, Net], ids=["meta", "real"])
@pytest.mark.parametrize("mesh_shape", [(4,), (2, 2), (1, 2, 2)], ids=["fsdp", "fsdp-tp", "hsdp-tp"])
def test_every_rank_gets_its_shards_of_the_one_model(world, plan, truth, mesh_shape, start):
    total = dict.fromkeys(truth, 0)
    for rank in RANKS:
        with world(rank, mesh_shape) as mesh:
            model = sharded(start(), mesh)
            objects = {name: id(parameter) for name, parameter in model.named_parameters()}
            returned = fanin.materialize(model, plan, seed=4, device="cpu")
            assert returned is model
            assert {name: id(parameter) for name, parameter in model.named_parameters()} == objects
            assert model.head.weight is model.embedding.weight
            assert not model.slow.requires_grad
            assert model.embedding.weight.requires_grad
            for name, elements in assert_shards_of(model, truth).items():
                total[name] += elements
    up = "blocks.0.up.weight"
    assert total[up] == truth[up].numel(), "its shards are no copies of each other"
    assert total["table"] == len(RANKS) * truth["table"].numel(), "a buffer is whole on every rank"


def test_to_empty_as_torch_documents_it(world, plan, truth):
    with world(2, (4,)) as mesh:
        model = blank()
        fully_shard(model, mesh=mesh)
        model.to_empty(device="cpu")
        assert_shards_of(fanin.materialize(model, plan, seed=4), truth)


def test_gathered_parameters_are_resharded_before_they_are_written(world, plan, truth):
    """After `unshard` a module shows whole tensors that FSDP2 throws away: values written there would be lost."""
    with world(1, (4,)) as mesh:
        model = fully_shard(Net(), mesh=mesh)
        model.unshard()
        assert not isinstance(model.slow, DTensor)
        fanin.materialize(model, plan, seed=4)
        assert isinstance(model.slow, DTensor)
        assert_shards_of(model, truth)


def test_fsdp2_refers_to_the_new_memory(world, plan):
    """FSDP2 gathers from its own, padded view of each shard."""
    with world(3, (4,)) as mesh:
        model = fully_shard(blank(), mesh=mesh)
        fanin.materialize(model, plan, seed=4, device="cpu")
        for group in model._get_fsdp_state()._fsdp_param_groups:
            for each in group.fsdp_params:
                local = each.sharded_param._local_tensor
                flat = each._sharded_param_data
                assert not flat.is_meta
                assert flat.untyped_storage().data_ptr() == local.untyped_storage().data_ptr()
                assert torch.equal(flat[: local.numel()], local.flatten())
                assert flat.numel() == each.padded_sharded_param_size.numel()


def test_hooks_and_attributes_of_parameters_are_kept(world, plan):
    with world(0, (4,)) as mesh:
        model = fully_shard(blank(), mesh=mesh)
        model.slow.note = "mine"
        handle = model.embedding.weight.register_post_accumulate_grad_hook(lambda parameter: None)
        fanin.materialize(model, plan, seed=4)
        assert model.slow.note == "mine"
        assert len(model.embedding.weight._post_accumulate_grad_hooks) == 1
        handle.remove()
        assert not model.embedding.weight._post_accumulate_grad_hooks


def test_weak_references_to_parameters_are_kept(world, plan, truth):
    with world(2, (4,)) as mesh:
        model = fully_shard(blank(), mesh=mesh)
        seen = weakref.ref(model.slow)
        fanin.materialize(model, plan, seed=4)
        assert seen() is model.slow
        assert not model.slow.to_local().is_meta
        assert_shards_of(model, truth)


@pytest.mark.parametrize("recipe", ["native", "he", "auto"])
@pytest.mark.parametrize("mesh_shape", [(4,), (2, 2)], ids=["fsdp", "fsdp-tp"])
def test_the_plan_of_a_sharded_model_is_the_plan_of_the_model(world, recipe, mesh_shape):
    tokens = torch.zeros(1, 3, dtype=torch.long)
    expected = fanin.plan(blank(), recipe, tokens)
    with world(1, mesh_shape) as mesh:
        model = sharded(blank(), mesh)
        kinds = {name: type(module) for name, module in model.named_modules()}
        assert fanin.plan(model, recipe, tokens).to_json() == expected.to_json()
        assert fanin.count(model, tokens) == fanin.count(blank(), tokens)
        assert kinds == {name: type(module) for name, module in model.named_modules()}, "the model stays as it is"


class Largest(TorchDispatchMode):
    """The largest tensor that any operation makes."""

    def __init__(self):
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        sizes = [each.numel() for each in tree_leaves(made) if type(each) is torch.Tensor and not each.is_meta]
        self.numel = max([self.numel, *sizes])
        return made


@pytest.mark.parametrize("dim", [0, 1])
def test_no_rank_allocates_a_whole_tensor(world, dim, monkeypatch):
    rows, columns, ranks = 640, 480, 8
    largest = {"numpy": 0}
    empty = np.empty

    def recorded(shape, *args, **kwargs):
        largest["numpy"] = max(largest["numpy"], prod(shape) if isinstance(shape, tuple) else int(shape))
        return empty(shape, *args, **kwargs)

    with torch.device("meta"):
        model = nn.Linear(columns, rows, bias=False)
    plan = fanin.capture(lambda: nn.Linear(columns, rows, bias=False)).plan.override({"weight": Normal(std=0.02)})
    with world(5, (ranks,)) as mesh:
        fully_shard(model, mesh=mesh, shard_placement_fn=lambda parameter: Shard(dim))
        monkeypatch.setattr(np, "empty", recorded)
        with Largest() as seen:
            fanin.materialize(model, plan, seed=1)
        monkeypatch.undo()
        assert model.weight.to_local().std() > 0.01
    assert rows * columns // ranks <= seen.numel <= rows * columns // ranks
    assert largest["numpy"] <= rows * columns // ranks


def test_a_partial_parameter_is_refused_by_name_and_nothing_is_written(world):
    from torch.distributed.tensor import Partial

    model = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    plan = fanin.plan(model)
    with world(0, (2,)) as mesh:
        model[1].weight = nn.Parameter(DTensor.from_local(torch.ones(3, 3), mesh, [Partial()]))
        before = model[0].weight.clone()
        with pytest.raises(PlanError, match=r"'1\.weight' is a DTensor with placements \(P\(sum\)\).*redistribute it"):
            fanin.materialize(model, plan)
        assert torch.equal(model[0].weight, before)


def test_fill_and_a_region_of_a_dtensor(world):
    from fanin.random import Stream
    from fanin.torch.fill import fill

    whole = torch.empty(10, 4, dtype=torch.bfloat16)
    for law in (Normal(std=0.02), Orthogonal(), Constant(3.0)):
        fill(whole, law, Stream.named(3, "w"))
        for rank in range(3):
            with world(rank, (3,)) as mesh:
                tensor = distribute_tensor(torch.zeros_like(whole), mesh, [Shard(0)], src_data_rank=None)
                version = tensor.to_local()._version
                fill(tensor, law, Stream.named(3, "w"))
                assert tensor.to_local()._version > version
                (piece,) = pieces_of(tensor)
                assert torch.equal(piece.memory, whole[piece.region.start[0] :][: piece.region.size[0]])
    with world(0, (3,)) as mesh:
        blank = DTensor.from_local(torch.empty(2, 2, device="meta"), mesh, [Replicate()])
        with pytest.raises(fanin.ArgumentError, match=r"cannot fill a meta tensor of shape \(2, 2\)"):
            fill(blank, Normal(std=1.0), Stream.named(0, "w"))
