"""Work, memory and time of each rank when 1, 2, 4 and 8 processes materialize one FSDP2 model: python bench/ranks.py

Every rank has one thread, so the time falls until there are as many ranks as cores. Time is that of the slowest rank,
the best of several rounds; memory is the peak of resident memory over what the process had before.
"""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rows import table

WORLDS = (1, 2, 4, 8)
LAYERS, WIDTH = 12, 2048
ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Share:
    """What one rank did: elements drawn, bytes of resident memory at the peak over before, seconds."""

    elements: int
    memory: int
    seconds: float


def shares(world: int) -> list[Share]:
    """What each of `world` ranks did."""
    import torch.multiprocessing as mp

    with tempfile.TemporaryDirectory() as place:
        answers = mp.get_context("spawn").SimpleQueue()
        mp.spawn(_rank, (world, str(Path(place) / "store"), answers), world)
        return [answers.get() for _ in range(world)]


def figures() -> dict[int, list[Share]]:
    """All worlds, measured now, with one thread in every process."""
    one = {"FANIN_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    before = {name: os.environ.get(name) for name in one}
    os.environ.update(one)
    try:
        return {world: shares(world) for world in WORLDS}
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _rank(rank: int, world: int, store: str, answers: Any) -> None:
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    import torch
    import torch.distributed as dist
    from torch import nn
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    import fanin

    torch.set_num_threads(1)
    dist.init_process_group("gloo", store=dist.FileStore(store, world), rank=rank, world_size=world)
    mesh = init_device_mesh("cpu", (world,))

    def make() -> nn.Module:
        return nn.Sequential(*(nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(LAYERS)))

    best: Share | None = None
    for _ in range(ROUNDS):
        captured = fanin.capture(make)
        plan = fanin.plan(captured, recipe="gpt2")
        model = fully_shard(captured.model, mesh=mesh)
        before = _resident("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
        dist.barrier()
        start = time.perf_counter()
        fanin.materialize(model, plan, device="cpu")
        seconds = time.perf_counter() - start
        elements = sum(parameter.to_local().numel() for parameter in model.parameters())
        if best is None or seconds < best.seconds:
            best = Share(elements, _resident("VmHWM") - before, seconds)
        del model, captured
    answers.put(best)
    dist.destroy_process_group()


def _resident(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(f"{field}:")).split()[1])


def markdown(found: dict[int, list[Share]]) -> str:
    """The table, relative to one process."""
    (alone,) = found[1]
    lines = []
    for world, ranks in found.items():
        elements, memory = max(each.elements for each in ranks), max(each.memory for each in ranks)
        speed = alone.seconds / max(each.seconds for each in ranks)
        work = [f"{world}", f"{elements:,}", f"{elements / alone.elements:.3f}"]
        lines.append([*work, f"{memory / 2**20:.0f} MiB", f"{memory / alone.memory:.3f}", f"÷ {speed:.2f}"])
    head = ["ranks", "elements per rank", "of one process", "peak memory per rank", "of one process"]
    return table([*head, "time of one process"], lines)


if __name__ == "__main__":
    print(markdown(figures()))
