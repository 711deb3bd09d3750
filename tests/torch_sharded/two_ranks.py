"""What test_two_ranks.py runs in each of two processes: `python two_ranks.py RANK STORE`."""

from __future__ import annotations

import copy
import sys
import warnings

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import Replicate, Shard, distribute_tensor

import fanin
import fanin.torch.init as init

RANKS = 2
tokens = torch.arange(8).view(2, 4)


class Net(nn.Module):
    """Odd sizes, so that shards are padded; tied weights; a buffer that the forward pass needs."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(11, 7)
        self.layers = nn.ModuleList([nn.Linear(7, 7) for _ in range(2)])
        self.norm = nn.LayerNorm(7)
        self.head = nn.Linear(7, 11, bias=False)
        self.head.weight = self.embedding.weight
        self.register_buffer("table", torch.arange(1.0, 8.0).log())

    def forward(self, tokens):
        x = self.embedding(tokens)
        for layer in self.layers:
            x = x + torch.tanh(layer(x)) * self.table
        return self.head(self.norm(x))


def sharded(mesh) -> nn.Module:
    with torch.device("meta"):
        model = Net()
    for layer in model.layers:
        fully_shard(layer, mesh=mesh)
    return fully_shard(model, mesh=mesh)


def trained(model: nn.Module) -> float:
    """The loss after two steps of AdamW; every rank sees the same batch, so the mean gradient is the plain one."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(2):
        model(tokens).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    with torch.no_grad():
        return float(model(tokens).square().mean())


def assert_is(model: nn.Module, truth: nn.Module) -> None:
    whole = dict(truth.named_parameters())
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter.full_tensor(), whole[name]), name
    assert torch.equal(model.table, truth.table)


def fsdp2_trains_on_what_materialize_wrote(mesh) -> None:
    plan = fanin.plan(Net)
    truth = fanin.materialize(Net(), plan, seed=3)
    expected = trained(copy.deepcopy(truth))
    model = sharded(mesh)
    fanin.materialize(model, plan, seed=3)
    assert_is(model, truth)
    assert abs(trained(model) - expected) <= 1e-6 * abs(expected)
    # The forward pass of `trained` left the root's parameters gathered.
    fanin.materialize(model, plan, seed=3)
    assert_is(model, truth)
    assert abs(trained(model) - expected) <= 1e-6 * abs(expected)


def init_functions_agree_under_any_seeds(mesh) -> None:
    """Each rank has a generator of its own; the first one's number counts."""
    whole = torch.zeros(5, 3)
    init.normal_(whole, generator=torch.Generator().manual_seed(100))
    for placements in ([Shard(0)], [Shard(1)], [Replicate()]):
        tensor = distribute_tensor(torch.zeros(5, 3), mesh, placements)
        init.normal_(tensor, generator=torch.Generator().manual_seed(100 + dist.get_rank()))
        assert torch.equal(tensor.full_tensor(), whole)
        if placements == [Replicate()]:
            assert torch.equal(tensor.to_local(), whole)


if __name__ == "__main__":
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module")
    dist.init_process_group("gloo", init_method=f"file://{sys.argv[2]}", rank=int(sys.argv[1]), world_size=RANKS)
    try:
        mesh = init_device_mesh("cpu", (RANKS,))
        fsdp2_trains_on_what_materialize_wrote(mesh)
        init_functions_agree_under_any_seeds(mesh)
    finally:
        dist.destroy_process_group()
