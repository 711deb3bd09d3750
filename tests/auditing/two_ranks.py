"""Audits on two ranks, run by torchrun: prints for each scene what both ranks found, as JSON on rank 0."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor, init_device_mesh

import fanin


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))


def sharded() -> tuple[nn.Module, fanin.Plan]:
    model = fully_shard(mlp(), mesh=init_device_mesh("cpu", (2,)))
    plan = fanin.plan(mlp, "he")
    fanin.materialize(model, plan, seed=1)
    return model, plan


def healthy() -> tuple[nn.Module, fanin.Plan | None]:
    return sharded()


def same_shards() -> tuple[nn.Module, fanin.Plan | None]:
    """E3: every rank draws its shard from the same random state."""
    model, plan = sharded()
    local = model[2].weight.to_local()
    torch.nn.init.normal_(local, 0, 0.125, generator=torch.Generator().manual_seed(0))
    return model, plan


def other_replicas() -> tuple[nn.Module, fanin.Plan | None]:
    """E2: replicas of one tensor drawn with a seed for each rank."""
    mesh = init_device_mesh("cpu", (2,))
    model = mlp()
    plan = fanin.initialize(model, "he")
    for module in (model[0], model[2], model[4]):
        for key, tensor in list(module.named_parameters()):
            module.register_parameter(key, nn.Parameter(distribute_tensor(tensor.detach(), mesh, [Replicate()])))
    local = model[2].weight.to_local()
    torch.nn.init.normal_(local, 0, 0.125, generator=torch.Generator().manual_seed(dist.get_rank()))
    return model, plan


def other_copies() -> tuple[nn.Module, fanin.Plan | None]:
    """The same under DistributedDataParallel, after a load on one rank only."""
    model = mlp()
    plan = fanin.initialize(model, "he")
    wrapped = nn.parallel.DistributedDataParallel(model)
    if dist.get_rank() == 1:
        torch.nn.init.normal_(model[2].weight, 0, 0.125, generator=torch.Generator().manual_seed(7))
    return wrapped, plan


def damage_elsewhere() -> tuple[nn.Module, fanin.Plan | None]:
    """NaN on one rank alone is seen by all; columns are cut, so that units are whole on no rank."""
    mesh = init_device_mesh("cpu", (2,))
    model = mlp()
    plan = fanin.initialize(model, "he")
    model[2].weight = nn.Parameter(distribute_tensor(model[2].weight.detach(), mesh, [Shard(1)]))
    if dist.get_rank() == 1:
        model[2].weight.to_local()[5, 6] = float("nan")
    return model, plan


def twins_elsewhere() -> tuple[nn.Module, fanin.Plan | None]:
    """Two equal units in the shard of the second rank."""
    model, plan = sharded()
    if dist.get_rank() == 1:
        local = model[2].weight.to_local()
        local[3] = local[4]
    return model, plan


SCENES: tuple[Callable[[], tuple[nn.Module, fanin.Plan | None]], ...] = (
    healthy,
    same_shards,
    other_replicas,
    other_copies,
    damage_elsewhere,
    twins_elsewhere,
)


def told(report: fanin.Report) -> dict[str, Any]:
    parameter = next(each for each in report.parameters if each.name == "2.weight")
    return {
        "findings": [str(each) for each in report.findings],
        "grave": [[each.rule, each.tensor] for each in report.findings if each.severity != "info"],
        "std": parameter.std,
        "shape": list(parameter.shape),
    }


def main() -> None:
    """Run every scene on this rank and gather what both say."""
    dist.init_process_group("gloo")
    answers: dict[str, Any] = {}
    for scene in SCENES:
        with torch.no_grad():
            model, plan = scene()
        if scene is not other_copies:
            assert any(isinstance(each, DTensor) for each in model.parameters())
        mine = told(fanin.audit(model, plan))
        both: list[Any] = [None, None]
        dist.all_gather_object(both, mine)
        answers[scene.__name__] = both
        del model  # its threads end before the group's
    dist.barrier()
    if dist.get_rank() == 0:
        sys.stdout.write(json.dumps(answers) + "\n")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
