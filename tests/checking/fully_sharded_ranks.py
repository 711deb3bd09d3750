"""One of two ranks: checks a model under `fully_shard` on its half of a batch, and the whole by itself; prints JSON."""

from __future__ import annotations

import json
import sys

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from fanin.checking import Report, check
from fanin.errors import DataError, FaninError


def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 8))


def loss(output: torch.Tensor) -> torch.Tensor:
    return output.square().mean()


def fails(output: torch.Tensor) -> torch.Tensor:
    raise ValueError("not today")


def refused(model: nn.Module, inputs: torch.Tensor, loss: object) -> str:
    try:
        check(model, inputs, loss)
    except FaninError as error:
        return f"{type(error).__name__}: {error}"
    return ""


def told(report: Report) -> dict[str, object]:
    layers = {
        layer.name: [layer.measured.forward.second, layer.measured.forward.count, layer.measured.expected_forward]
        for layer in report.layers
    }
    return {
        "verdict": report.verdict,
        "layers": layers,
        "parameters": {each.name: [each.std, each.gradient_rms, list(each.shape)] for each in report.parameters},
        "loss": report.loss,
        "notes": report.notes,
    }


def main() -> None:
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    mesh = init_device_mesh("cpu", (2,))
    sharded = model()
    for module in (sharded[0], sharded[2], sharded):
        fully_shard(module, mesh=mesh)
    inputs = torch.randn(32, 32, generator=torch.Generator().manual_seed(5))
    half = inputs[rank * 16 : (rank + 1) * 16]
    before = [parameter.to_local().clone() for parameter in sharded.parameters()]
    together = told(check(sharded, half, loss))
    try:
        check(sharded, half, fails)
        raised = ""
    except DataError as error:
        raised = str(error)
    kept = all(
        isinstance(parameter, DTensor) and torch.equal(parameter.to_local(), value) and parameter.grad is None
        for parameter, value in zip(sharded.parameters(), before, strict=True)
    )
    # What fails on rank 1 alone must not leave rank 0 waiting.
    lonely = {
        "batch": refused(sharded, half if rank == 0 else half.clone().fill_(float("nan")), loss),
        "loss": refused(sharded, half, loss if rank == 0 else fails),
    }
    again = told(check(sharded, half, loss)) == together
    answer = {
        "together": together,
        "alone": told(check(model(), inputs, loss)),
        "kept": kept,
        "again": again,
        "lonely": lonely,
    }
    sys.stdout.write(json.dumps({"rank": rank, "raised": raised, **answer}) + "\n")
    sys.stdout.flush()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
