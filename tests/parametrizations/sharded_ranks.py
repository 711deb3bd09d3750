"""One of two ranks: parametrized, then sharded with fully_shard; and sharded on meta, then parametrized."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.functional import cross_entropy

import fanin

spec = importlib.util.spec_from_file_location("small", Path(__file__).with_name("small_parametrized.py"))
small = importlib.util.module_from_spec(spec)
spec.loader.exec_module(small)


def sharded(model: nn.Module) -> nn.Module:
    mesh = init_device_mesh("cpu", (2,))
    for layer in model:
        if isinstance(layer, nn.Linear):
            fully_shard(layer, mesh=mesh)
    return fully_shard(model, mesh=mesh)


def main(place: Path) -> None:
    rank = int(os.environ["RANK"])
    dist.init_process_group("gloo", store=dist.FileStore(str(place / "store"), 2), rank=rank, world_size=2)
    torch.manual_seed(0)
    model = small.mlp(32)
    fanin.parametrize(model, base=lambda: small.mlp(8))
    sharded(model)
    record = fanin.parametrizations.record_of(model)
    optimizer = torch.optim.AdamW(record.parameter_groups(model, 0.01), lr=0.01)
    inputs, labels = torch.randn(8, 10, generator=torch.Generator().manual_seed(1)), torch.arange(8) % 3
    for _ in range(3):
        optimizer.zero_grad()
        half = slice(4 * rank, 4 * rank + 4)
        cross_entropy(model(inputs[half]), labels[half]).backward()
        optimizer.step()
    with torch.device("meta"):
        empty = small.mlp(32)
    sharded(empty)
    fanin.parametrize(empty, base=lambda: small.mlp(8), seed=5)
    for way, each in (("values", model), ("meta", empty)):
        whole = {name: parameter.full_tensor().detach() for name, parameter in each.named_parameters()}
        if rank == 0:
            torch.save(whole, place / f"{way}.pt")
    if rank == 0:
        (place / "record.json").write_text(record.to_json())
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
