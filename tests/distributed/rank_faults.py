"""What can go wrong on one rank, done on purpose; each function runs on every rank at once, like rank_jobs.py."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from rank_pool import Outcome
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Shard, distribute_tensor

import fanin
from fanin.initializers import Normal
from fanin.plans import Plan
from fanin.random import Region, Stream, stream
from fanin.torch.agreement import Team
from fanin.torch.agreement.exchange import _gathered

BAD = 1
"""The rank on which things go wrong."""


class Net(nn.Module):
    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.first = nn.Linear(4, width)
        self.second = nn.Linear(width, 3)


@dataclass(frozen=True, slots=True)
class Failing(Normal):
    """A normal law that fails on one rank."""

    def fill(self, out: Any, stream: Stream, region: Region, *, threads: int | None = None) -> None:
        """Fail where things go wrong, though not on the few values that a check draws."""
        if dist.get_rank() == BAD and region.numel > 1:
            raise MemoryError("no memory left")
        Normal.fill(self, out, stream, region, threads=threads)


def _plan(width: int = 6) -> Plan:
    return fanin.plan(fanin.capture(lambda: Net(width)))


def _net(*, width: int = 6, meta: bool = False, names: tuple[str, ...] = ("dp",)) -> nn.Module:
    """The network, sharded over all ranks, on the meta device or with values of its own."""
    with torch.device("meta" if meta else "cpu"):
        net = Net(width)
    return fully_shard(net, mesh=init_device_mesh("cpu", (dist.get_world_size(),), mesh_dim_names=names))


def attempt(model: nn.Module, run: Callable[[], object]) -> Outcome:
    before = [_bits(tensor) for tensor in model.parameters()]
    start = time.monotonic()
    try:
        run()
    except Exception as error:
        kind, message = type(error).__name__, "\n".join([str(error), *getattr(error, "__notes__", [])])
    else:
        kind, message = "", ""
    seconds = time.monotonic() - start
    same = [_bits(tensor) for tensor in model.parameters()] == before
    return Outcome(kind, message, same, seconds)


def _bits(tensor: torch.Tensor) -> bytes | str:
    local = tensor.to_local() if isinstance(tensor, DTensor) else tensor
    return "meta" if local.is_meta else local.detach().contiguous().view(torch.uint8).numpy().tobytes()


@contextmanager
def _changed(owner: Any, name: str, value: Any) -> Iterator[None]:
    old = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, old)


def is_bad() -> bool:
    return dist.get_rank() == BAD


def other_seed(bad: int) -> Outcome:
    net = _net()
    return attempt(net, lambda: fanin.materialize(net, _plan(), seed=7 if dist.get_rank() == bad else 0))


def other_plan() -> Outcome:
    net, plan = _net(), _plan()
    if is_bad():
        plan = plan.override({"second.weight": Normal(std=0.5)})
    return attempt(net, lambda: fanin.materialize(net, plan))


def other_words() -> Outcome:
    """Reasons and notes may differ: they do not decide any value."""
    net, plan = _net(), _plan()
    if is_bad():
        plan = Plan(tuple(replace(step, why="because") for step in plan.steps), "Other", "other", ("a note",))
    return attempt(net, lambda: fanin.materialize(net, plan))


def other_stream_version() -> Outcome:
    net = _net()
    with _changed(stream, "STREAM_VERSION", stream.STREAM_VERSION + is_bad()):
        return attempt(net, lambda: fanin.materialize(net, _plan()))


def other_fanin_version() -> Outcome:
    net = _net()
    with _changed(fanin, "__version__", "99.0" if is_bad() else fanin.__version__):
        return attempt(net, lambda: fanin.materialize(net, _plan()))


def other_mesh() -> Outcome:
    net = _net(names=("replicas",) if is_bad() else ("dp",))
    return attempt(net, lambda: fanin.materialize(net, _plan()))


def other_model() -> Outcome:
    width = 8 if is_bad() else 6
    net = _net(width=width)
    return attempt(net, lambda: fanin.materialize(net, _plan(width)))


def protected() -> Outcome:
    """Validation fails on one rank: a tensor there is marked to be kept."""
    net, plan = _net(), _plan()
    if is_bad():
        fanin.keep(net, "first.*")
    return attempt(net, lambda: fanin.materialize(net, plan))


def all_protected() -> Outcome:
    """Validation fails alike on every rank."""
    net, plan = _net(), _plan()
    fanin.keep(net, "first.*")
    return attempt(net, lambda: fanin.materialize(net, plan))


def failing_progress(meta: bool) -> Outcome:
    net = _net(meta=meta)

    def progress(done: int, due: int) -> None:
        if is_bad():
            raise OSError("the disk is full")

    return attempt(net, lambda: fanin.materialize(net, _plan(), progress=progress, device="cpu"))


def failing_law() -> Outcome:
    net = _net(meta=True)
    plan = _plan().override({"second.weight": Failing(std=1.0)})
    return attempt(net, lambda: fanin.materialize(net, plan, device="cpu"))


def rank_zero_only() -> Outcome | None:
    """A plain model on one rank is nobody else's business."""
    if dist.get_rank():
        return None
    net = Net()
    return attempt(net, lambda: fanin.materialize(net, _plan()))


def no_group() -> Outcome:
    net = _net()
    dist.destroy_process_group()
    return attempt(net, lambda: fanin.materialize(net, _plan()))


def other_group(store: str) -> Outcome:
    """The process group is made anew, each rank by itself, and the mesh is that of before."""
    net = _net()
    place = f"{store}-{dist.get_rank()}"
    dist.destroy_process_group()
    dist.init_process_group("gloo", store=dist.FileStore(place, 1), rank=0, world_size=1)
    return attempt(net, lambda: fanin.materialize(net, _plan()))


def dying() -> Outcome:
    """One rank dies before it comes to the exchange."""
    net = _net()
    dist.barrier()  # gloo connects ranks when they first talk, and sees a connection end at once
    dist.distributed_c10d._set_pg_timeout(timedelta(seconds=3), dist.group.WORLD)  # for who waits for one that raised
    if is_bad():
        os._exit(1)
    return attempt(net, lambda: fanin.materialize(net, _plan()))


def garbage() -> Outcome | None:
    """One rank sends bytes that are no statement."""
    net = _net()
    if is_bad():
        _gathered(b"\x80\x04not json", dist.group.WORLD)
        return None
    return attempt(net, lambda: fanin.materialize(net, _plan()))


def pipeline(bad: int | None, absent: int | None) -> Outcome | None:
    """Two stages of a model on a mesh (pp, dp, tp); rank `bad` has another seed, the stage `absent` stays away."""
    mesh = init_device_mesh("cpu", (2, 2, 2), mesh_dim_names=("pp", "dp", "tp"))
    rank = dist.get_rank()
    stage = mesh.get_local_rank("pp")
    name, other = (("first", "second"), ("second", "first"))[stage]
    part = Net()
    setattr(part, other, None)
    layer = getattr(part, name)
    layer.weight = nn.Parameter(distribute_tensor(layer.weight.detach(), mesh["tp"], [Shard(0)], src_data_rank=None))
    fully_shard(part, mesh=mesh["dp"])
    if stage == absent:
        return None
    seed = 7 if rank == bad else 0
    outcome = attempt(part, lambda: fanin.materialize(part, _plan(), seed=seed, partial=True))
    if outcome.kind:
        return outcome
    fanin.materialize(whole := Net(), _plan(), seed=seed)
    same = torch.equal(layer.weight.full_tensor(), getattr(whole, name).weight)
    return replace(outcome, message=f"equal: {same}")


def team_size() -> tuple[int, int]:
    """How many groups a team uses, for a plain and for a sharded model."""
    return len(Team.of(Net()).groups), len(Team.of(_net()).groups)
