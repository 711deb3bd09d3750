"""Shards put together: each process reads its own, and all learn the numbers of the whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from torch import Tensor, nn

from fanin.auditing.numbers import NOTHING, Numbers
from fanin.auditing.records import Ranks, Seen, Twins
from fanin.torch.agreement import Team
from fanin.torch.agreement.exchange import Message, exchange
from fanin.torch.sharded.dtensor import held, is_dtensor
from fanin.torch.tensors import stored_tensors

_MANY = 64  # values that are not equal on two ranks by chance


def together(model: nn.Module, tensors: Sequence[Seen]) -> tuple[tuple[Seen, ...], Ranks]:
    """The records with the numbers of whole tensors, and what ranks hold that they should not; all ranks call this.

    Parts are added once, however many replicas there are. A model without sharded tensors, and not in
    DistributedDataParallel, is looked at alone.

    Raises:
        PlanError: a rank died, or did not come before the timeout of the process group.
    """
    rank, groups = _groups(model)
    if not groups:
        return tuple(tensors), Ranks()
    parts = {entry.name: _part(entry.tensor) for entry in stored_tensors(model)}
    own = {seen.name: _told(seen, parts[seen.name]) for seen in tensors if seen.numbers is not None}
    said = exchange(rank, {"tensors": own}, groups)
    return tuple(_joined(seen, said) for seen in tensors), _ranks(said, tensors)


def _groups(model: nn.Module) -> tuple[int, tuple[Any, ...]]:
    team = Team.of(model)
    if team.groups or not isinstance(model, nn.parallel.DistributedDataParallel):
        return team.rank, team.groups
    import torch.distributed as dist

    return dist.get_rank(), (model.process_group,)


def _part(tensor: Tensor) -> list[list[int]]:
    """Which part of the tensor this process holds; nothing stands for all of it."""
    if not is_dtensor(tensor):
        return []
    return [[*region.start, *region.size] for region, _ in held(tensor)] or [[-1]]


def _told(seen: Seen, part: list[list[int]]) -> dict[str, Any]:
    numbers = asdict(seen.numbers or NOTHING)
    twins = None if seen.twins is None else [seen.twins.units, seen.twins.equal, seen.twins.first, seen.twins.second]
    # JSON has no infinities, and these would be of an empty part.
    finite = {key: (str(value) if isinstance(value, float) else value) for key, value in numbers.items()}
    finite["sums"] = [str(value) for value in numbers["sums"]]
    return {"part": part, "numbers": finite, "twins": twins}


def _numbers(told: Mapping[str, Any]) -> Numbers:
    found = dict(told["numbers"])
    first, second, third, fourth = map(float, found.pop("sums"))
    low, high = float(found.pop("low")), float(found.pop("high"))
    return Numbers(sums=(first, second, third, fourth), low=low, high=high, **found)


def _of(name: str, said: Mapping[int, Message]) -> dict[int, dict[str, Any]]:
    told = {rank: message.get("tensors", {}).get(name) for rank, message in sorted(said.items())}
    return {rank: each for rank, each in told.items() if each is not None}


def _joined(seen: Seen, said: Mapping[int, Message]) -> Seen:
    told = _of(seen.name, said)
    once = {str(each["part"]): each for each in reversed(told.values())}
    if seen.numbers is None or not once:
        return seen
    numbers = sum((_numbers(once[key]) for key in sorted(once)), NOTHING)
    found = [Twins(*each["twins"]) for each in once.values() if each["twins"] is not None]
    twins = None
    if found:
        pair = next(((each.first, each.second) for each in found if each.equal), (0, 0))
        twins = Twins(sum(each.units for each in found), sum(each.equal for each in found), *pair)
    return replace(seen, numbers=numbers, twins=twins)


def _ranks(said: Mapping[int, Message], tensors: Sequence[Seen]) -> Ranks:
    differing: dict[str, tuple[int, int]] = {}
    repeated: dict[str, tuple[int, int]] = {}
    for seen in tensors:
        if seen.kind != "parameter":
            continue  # running statistics and random states are each rank's own
        holders: dict[str, tuple[int, object]] = {}
        owners: dict[object, tuple[int, str]] = {}
        for rank, each in _of(seen.name, said).items():
            part, numbers = str(each["part"]), _numbers(each)
            values = numbers.bits, numbers.sums
            holder, held = holders.setdefault(part, (rank, values))
            if held != values:
                differing.setdefault(seen.name, (holder, rank))
            owner, owned = owners.setdefault(values, (rank, part))
            if owned != part and numbers.count >= _MANY and not numbers.constant:
                repeated.setdefault(seen.name, (owner, rank))
    return Ranks(differing, repeated)
