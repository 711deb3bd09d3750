"""What two ranks do under torchrun in test_ranks.py; each writes what it saw to rank-N.json in the given folder."""

from __future__ import annotations

import json
import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.utils.data import DataLoader

from fanin import FaninError
from fanin.resuming import Order, Training

DATA = torch.linspace(-1, 1, 23 * 7).reshape(23, 7)


def build(seed: int) -> nn.Module:
    """Weights whose rows no two ranks share out evenly."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(7, 9), nn.Dropout(0.3), nn.BatchNorm1d(9), nn.Linear(9, 5))


def start(folder: Path, seed: int, rank: int, world: int, *, sharded: bool) -> tuple[dict[str, Any], Training]:
    model = build(seed)
    if sharded:
        fully_shard(model[0])
        fully_shard(model)
    elif world > 1:
        model = nn.parallel.DistributedDataParallel(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    order = Order(23, 4, seed=1, rank=rank, world=world)
    torch.manual_seed(100 + rank)  # every rank drops out other units
    made = {"model": model, "optimizer": optimizer, "scheduler": scheduler, "order": order}
    return made, Training(folder, **made)


def train(made: dict[str, Any], run: Training, until: int, save_every: int | None = None) -> list[str]:
    """The losses."""
    losses = []
    loader = DataLoader(DATA, batch_sampler=made["order"])
    for batch in run.steps(until, loader, save_every=save_every):
        made["optimizer"].zero_grad()
        loss = made["model"](batch).square().mean()
        loss.backward()
        made["optimizer"].step()
        made["scheduler"].step()
        losses.append(loss.item().hex())
    return losses


def values(made: dict[str, Any]) -> dict[str, list[float]]:
    """All tensors of model and optimizer, whole."""
    state = made["optimizer"].state_dict()["state"]
    moments = {f"{number}.{key}": each for number, own in state.items() for key, each in own.items()}
    both = {**{name.removeprefix("module."): each for name, each in made["model"].state_dict().items()}, **moments}
    whole = {name: each.full_tensor() if hasattr(each, "full_tensor") else each for name, each in both.items()}
    return {name: each.double().flatten().tolist() for name, each in whole.items()}


def goes_on(folder: Path, rank: int, *, sharded: bool) -> dict[str, Any]:
    """Seven steps at once; and four, then three more in new objects."""
    whole, run = start(folder / "whole", 0, rank, 2, sharded=sharded)
    losses = train(whole, run, 7)
    cut, run = start(folder / "cut", 0, rank, 2, sharded=sharded)
    first = train(cut, run, 4, save_every=4)
    again, run = start(folder / "cut", 5, rank, 2, sharded=sharded)
    resumed = run.resume()
    rest = train(again, run, 7, save_every=7)
    return {
        "resumed": [resumed.step, list(resumed.notes)] if resumed else None,
        "same losses": first + rest == losses,
        "same values": values(again) == values(whole),
        "values": values(again),
        "draw": torch.rand(2).tolist(),
    }


def failing(folder: Path, rank: int) -> str:
    """A part of one rank that cannot be saved."""
    made, _ = start(folder, 0, rank, 2, sharded=True)
    run = Training(folder, **made, log=[object()] if rank else [1])
    try:
        run.save()
    except FaninError as error:
        return str(error)
    return "nothing"


def not_resuming(folder: Path, rank: int) -> str:
    """One rank wants to go on with another seed."""
    made, _ = start(folder, 5, rank, 2, sharded=True)
    try:
        Training(folder, **made, seed=7 if rank else None).resume()
    except FaninError as error:
        return str(error)
    return "nothing"


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", timeout=timedelta(seconds=60))
    rank = dist.get_rank()
    seen: dict[str, Any] = {
        "fsdp": goes_on(folder / "fsdp", rank, sharded=True),
        "replicas": goes_on(folder / "replicas", rank, sharded=False),
        "failing": failing(folder / "failing", rank),
        "not resuming": not_resuming(folder / "fsdp" / "cut", rank),
    }
    made, run = start(folder / "one", 5, rank, 2, sharded=True)
    resumed = run.resume()
    seen["of one"] = [resumed.step, list(resumed.notes[-1:]), values(made), made["order"].position] if resumed else None
    (folder / f"rank-{rank}.json").write_text(json.dumps(seen))
    dist.barrier()
    os._exit(0)  # gloo's threads now and then abort a process that takes its time to end


if __name__ == "__main__":
    main(Path(sys.argv[1]))
