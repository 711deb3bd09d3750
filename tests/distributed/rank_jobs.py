"""What the ranks of rank_server.py can be asked to do; each function runs on every rank at once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from hashlib import blake2b
from itertools import accumulate
from math import prod
from pathlib import Path
from typing import Any, ClassVar

import rank_models
import torch
import torch.distributed as dist
from safetensors.torch import load_file
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor
from torch.profiler import ProfilerActivity, profile

import fanin
from fanin.checkpoints import finish, write
from fanin.initializers import Initializer, Normal
from fanin.plans import Plan
from fanin.plans.steps import Draw, Step
from fanin.random import Region, Stream

Split = tuple[tuple[int, ...], tuple[int, ...], tuple[int | None, ...], Initializer, str]
"""Shape, mesh, for each mesh dimension the tensor dimension that it shards (None: a copy each), law and dtype."""


def prepare() -> None:
    """What every rank would do alike, done once before they are forked: plans, and kernels loaded."""
    for model in rank_models.MODELS:
        for recipe in rank_models.RECIPES:
            rank_models.plan_of(model, recipe)


def join(rank: int, world: int, store: str) -> None:
    """Make the default process group."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", store=dist.FileStore(store, world), rank=rank, world_size=world, timeout=timedelta(seconds=30)
    )


def hashes(model: nn.Module) -> dict[str, str]:
    """The hash of the bits of every stored tensor, gathered by torch where it is sharded."""
    return {name: _hash(tensor) for name, tensor in (*model.named_parameters(), *model.named_buffers())}


def _hash(tensor: torch.Tensor) -> str:
    whole = (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).detach()
    bits = whole.contiguous().flatten().view(torch.uint8).numpy().tobytes()
    return f"{whole.dtype} {tuple(whole.shape)} {blake2b(bits, digest_size=8).hexdigest()}"


def plain(model: str, recipe: str, seed: int) -> dict[str, str]:
    """Hashes of a model that one process builds and writes."""
    return hashes(fanin.materialize(rank_models.real(model), rank_models.plan_of(model, recipe), seed=seed))


def captured(model: str, recipe: str, seed: int) -> dict[str, str]:
    """Hashes of a captured model, written by one process."""
    made = fanin.capture(rank_models.MODELS[model]).model
    return hashes(fanin.materialize(made, rank_models.plan_of(model, recipe), seed=seed))


def from_meta(model: str, recipe: str, seed: int, how: str) -> dict[str, str]:
    """Hashes of the captured model, sharded on the meta device and then materialized."""
    made = _sharded(fanin.capture(rank_models.MODELS[model]).model, how)
    return hashes(fanin.materialize(made, rank_models.plan_of(model, recipe), seed=seed, device="cpu"))


def from_real(model: str, recipe: str, seed: int, how: str) -> dict[str, str]:
    """Hashes of a real model, sharded and then materialized in place."""
    made = _sharded(rank_models.real(model), how)
    return hashes(fanin.materialize(made, rank_models.plan_of(model, recipe), seed=seed))


def on_disk(model: str, recipe: str, seed: int, place: str) -> dict[str, str]:
    """Hashes of the checkpoint that the ranks write straight from the plan, without any model."""
    plan, rank, world = rank_models.plan_of(model, recipe), dist.get_rank(), dist.get_world_size()
    write(plan, place, seed, max_shard_size="20KB", threads=1, rank=rank, world=world)
    dist.barrier()
    if rank == 0:
        finish(plan, place, seed, max_shard_size="20KB")
    files = sorted(Path(place).glob("*.safetensors"))
    return {name: _hash(tensor) for file in files for name, tensor in load_file(file).items()}


def persistent(model: str) -> list[str]:
    """The names of the tensors that a checkpoint holds."""
    return [step.name for step in rank_models.plan_of(model, "native").steps if step.persistent]


def _sharded(model: nn.Module, how: str) -> nn.Module:
    return rank_models.shard(model, how, dist.get_world_size())


def trained(model: str, how: str) -> tuple[dict[str, str], bool, dict[str, str]]:
    """Hashes before a step of SGD, whether the loss is finite, and hashes after: the engine works on what was made."""
    made = _sharded(fanin.capture(rank_models.MODELS[model]).model, how)
    fanin.materialize(made, rank_models.plan_of(model, "native"), seed=0, device="cpu")
    before = hashes(made)
    optimizer = torch.optim.SGD(made.parameters(), lr=0.5)
    out = made(input_ids=torch.arange(12).reshape(2, 6), use_cache=False)
    loss = torch.nn.functional.cross_entropy(out.logits.flatten(0, 1), torch.arange(12))
    loss.backward()
    optimizer.step()
    return before, bool(torch.isfinite(loss)), hashes(made)


def splits(examples: list[Split]) -> list[str]:
    """What is wrong with each example: "" where the shard has the bits that a single process draws there."""
    return [_split(example) for example in examples]


@cache
def _mesh(shape: tuple[int, ...]) -> DeviceMesh:
    """One mesh of each shape: every new one makes process groups that stay."""
    return init_device_mesh("cpu", shape)


def _split(example: Split) -> str:
    shape, mesh_shape, dims, law, dtype = example
    step = Step("weight", shape, dtype, "parameter", Draw(law), "drawn")
    whole = nn.Module()
    whole.weight = nn.Parameter(torch.full(shape, torch.nan, dtype=getattr(torch, dtype)))
    mesh = _mesh(mesh_shape)
    placements = [Replicate() if dim is None else Shard(dim) for dim in dims]
    # Where torch puts each index says which part of the tensor a rank has to hold.
    places = torch.arange(prod(shape)).reshape(shape)
    places = distribute_tensor(places, mesh, placements, src_data_rank=None).to_local()
    part = nn.Module()
    part.weight = nn.Parameter(distribute_tensor(whole.weight.detach(), mesh, placements, src_data_rank=None))
    for model in (whole, part):
        fanin.materialize(model, Plan((step,)), seed=3)
    due = whole.weight.detach().flatten()[places.flatten()].view(torch.uint8)
    local = part.weight.detach().to_local()
    seen = local.flatten().view(torch.uint8)
    return "" if local.shape == places.shape and torch.equal(seen, due) else f"rank {dist.get_rank()}: {example}"


@dataclass(frozen=True, slots=True)
class Counted(Normal):
    """A normal law that counts the elements that it draws."""

    drawn: ClassVar[list[int]] = []

    def fill(self, out: Any, stream: Stream, region: Region, *, threads: int | None = None) -> None:
        """Draw, and count."""
        self.drawn.append(region.numel)
        Normal.fill(self, out, stream, region, threads=threads)


def work(width: int, layers: int) -> tuple[int, int, int]:
    """Elements that a rank draws of matrices under FSDP2, bytes that it holds, and the most that it allocates."""

    def make() -> nn.Module:
        return nn.Sequential(*(nn.Linear(width, width, bias=False) for _ in range(layers)))

    captured = fanin.capture(make)
    plan = captured.plan.override({name: Counted(std=0.02) for name in captured.plan})
    model = fully_shard(captured.model, mesh=init_device_mesh("cpu", (dist.get_world_size(),)))
    Counted.drawn.clear()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        fanin.materialize(model, plan, device="cpu")
    held = sum(parameter.to_local().nbytes for parameter in model.parameters())
    return sum(Counted.drawn), held, _peak(seen)


def _peak(seen: profile) -> int:
    """The most bytes of tensors that were allocated at a time."""
    events = [event for event in seen.profiler.kineto_results.events() if event.name() == "[memory]"]
    return max(accumulate(event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())), default=0)


def empty_twice() -> bool:
    """Whether a rank holds its share of a kernel of width 1 that tensor parallelism cuts along that width."""
    made = fanin.capture(lambda: nn.Conv2d(8, 12, 1, bias=False))
    mesh = init_device_mesh("cpu", (dist.get_world_size() // 2, 2), mesh_dim_names=("dp", "tp"))
    split = distribute_tensor(made.model.weight.detach(), mesh["tp"], [Shard(3)], src_data_rank=None)
    made.model.weight = nn.Parameter(split)
    model = fully_shard(made.model, mesh=mesh["dp"])
    fanin.materialize(model, made.plan, device="cpu")
    alone = fanin.materialize(nn.Conv2d(8, 12, 1, bias=False), made.plan)
    local = model.weight.detach().to_local()
    if mesh.get_local_rank("tp"):
        return local.numel() == 0
    return torch.equal(local, alone.weight.detach().chunk(mesh.size(0))[mesh.get_local_rank("dp")])
