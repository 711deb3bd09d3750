"""Small messages between ranks, through tensors: JSON bytes, never pickles."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import torch

from fanin.errors import PlanError
from fanin.torch.agreement.words import listed_ranks

_LONGEST = 1 << 24
Message = dict[str, Any]


def exchange(rank: int, message: Message, groups: Sequence[Any]) -> dict[int, Message]:
    """What each rank says, by rank; every rank of the groups calls this at the same time.

    With several groups what is known goes on along each in turn, so that two groups that cross reach all ranks of the
    rectangle; the groups are in the same order on every rank.

    Raises:
        PlanError: the exchange failed (a rank died, or did not come before the group's timeout), or a rank sent
            something else.
    """
    known = {rank: message}
    for group in groups:
        data = json.dumps({str(key): value for key, value in known.items()}).encode()
        try:
            parts = _gathered(data, group)
        except RuntimeError as error:
            raise PlanError(_lost(rank, group, error)) from error
        for part in parts:
            known.update(_parsed(part))
    return known


def _gathered(data: bytes, group: Any) -> list[bytes]:
    """The bytes of each rank of `group`: first their lengths, then all padded to the longest."""
    import torch.distributed as dist

    if dist.get_backend(group) == "fake":  # simulates the other ranks: there is nobody to agree with
        return [data]
    device, count = _device(group), dist.get_world_size(group)
    lengths = [torch.zeros(1, dtype=torch.int64, device=device) for _ in range(count)]
    dist.all_gather(lengths, torch.tensor([len(data)], dtype=torch.int64, device=device), group=group)
    sizes = [int(length) for length in lengths]
    if not all(0 < size <= _LONGEST for size in sizes):
        raise PlanError(f"ranks announce messages of {sizes} bytes: they do not run the same version of fanin")
    padded = torch.zeros(max(sizes), dtype=torch.uint8, device=device)
    padded[: len(data)] = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    received = [torch.zeros_like(padded) for _ in range(count)]
    dist.all_gather(received, padded, group=group)
    return [bytes(part[:size].cpu().numpy()) for part, size in zip(received, sizes, strict=True)]


def _device(group: Any) -> torch.device:
    """Where the backend takes tensors: on the CPU if it can, else on the current accelerator."""
    import torch.distributed as dist

    kinds = [pair.partition(":")[0] for pair in dist.get_backend_config(group).split(",")]
    return torch.device("cpu" if "cpu" in kinds else kinds[0])


def _parsed(data: bytes) -> dict[int, Message]:
    try:
        return {int(rank): dict(message) for rank, message in json.loads(data).items()}
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise PlanError("a rank sent what is no statement of fanin's: run the same version on every rank") from None


def _lost(rank: int, group: Any, error: RuntimeError) -> str:
    import torch.distributed as dist

    others = listed_ranks(other for other in dist.get_process_group_ranks(group) if other != rank)
    cause = str(error).strip().partition("\n")[0]
    return (
        f"rank {rank} could not reach {others} to agree on what to write ({cause}): a rank died, holds its tensors on "
        "another mesh, or did not call materialize before the timeout of the process group; look at the first error "
        "of each rank. Do not use the values of this model"
    )
