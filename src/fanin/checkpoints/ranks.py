"""Several processes that write or read together: each its part, all succeed or all fail."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from fanin.errors import ArgumentError, PlanError, WeightsError
from fanin.random import default_threads
from fanin.torch.agreement.exchange import Message, exchange
from fanin.torch.agreement.words import listed_ranks, told_apart

T = TypeVar("T")
_LONGEST_TEXT = 1000
_STEADY = 20_000_000  # bytes a second that the slowest rank is taken to write at least
_SLACK = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What it means for what ranks do together that one of them failed.

    Attributes:
        left: what there is then.
        mended: what to do once the cause is mended.
        lost: what to do where a rank was lost.
    """

    left: str
    mended: str
    lost: str


CHECKPOINT = Outcome(
    "the checkpoint is not whole and has no index",
    "start all processes again: finished files are kept",
    "start all processes again, and they go on with what is missing",
)


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among those that write or read together; by default alone.

    Attributes:
        rank: its number.
        count: how many there are.
        group: the process group through which they speak; None for one alone, which never does.
        outcome: what a failure of one means for all.
    """

    rank: int = 0
    count: int = 1
    group: Any = None
    outcome: Outcome = CHECKPOINT

    @property
    def first(self) -> bool:
        """Whether this is rank 0, which writes what stands once: index, config, and what people read."""
        return self.rank == 0

    def agreed(self, facts: Mapping[str, object]) -> None:
        """Raise on every rank unless all have the same facts (seed, plan hash, …).

        Raises:
            PlanError: in which fact they differ, and which rank has what.
        """
        said = self._exchanged({"facts": {name: str(value) for name, value in facts.items()}})
        for name in facts:
            values = {rank: dict(message.get("facts", {})).get(name) for rank, message in said.items()}
            if len(set(values.values())) > 1:
                raise PlanError(
                    f"the processes are about to write different checkpoints: {told_apart(name, values)}. Start all "
                    "with the same command, the same version of fanin and the same packages; nothing was written"
                )

    def together(self, work: Callable[[], T]) -> T:
        """The result of this rank's `work`, once every rank has done its own.

        Raises:
            WeightsError: it failed on another rank, or one was lost.
            Exception: what `work` raised on this rank.
        """
        if self.group is None:
            return work()
        try:
            result = work()
        except BaseException as error:
            error.add_note(f"(on rank {self.rank})")
            with suppress(WeightsError):  # what failed here is the cause, and is raised
                self._exchanged({"error": (str(error) or type(error).__name__)[:_LONGEST_TEXT]})
            raise
        said = self._exchanged({})
        failed = {rank: str(message["error"]) for rank, message in said.items() if "error" in message}
        if failed:
            raise WeightsError(
                f"{listed_ranks(failed)} failed, so {self.outcome.left}: {failed[min(failed)]}. Mend that and "
                f"{self.outcome.mended}"
            )
        return result

    def gathered(self, names: Sequence[str]) -> tuple[str, ...]:
        """The names of all ranks, rank by rank."""
        said = self._exchanged({"names": list(names)})
        return tuple(str(name) for rank in sorted(said) for name in said[rank].get("names", ()))

    def _exchanged(self, message: Message) -> dict[int, Message]:
        if self.group is None:
            return {self.rank: message}
        try:
            return exchange(self.rank, message, [self.group])
        except PlanError as error:
            lost = f"rank {self.rank} lost the other ranks ({_cause(error.__cause__ or error)})"
            left = self.outcome.left[:1].upper() + self.outcome.left[1:]
            raise WeightsError(
                f"{lost}: one of them died or was stopped; look at the first error of each. {left}: {self.outcome.lost}"
            ) from error


@contextmanager
def joined(share_bytes: int = 0, outcome: Outcome = CHECKPOINT) -> Generator[Ranks]:
    """The processes that torchrun started with this one, while the block runs; alone outside of torchrun.

    They speak through gloo, which needs no accelerator; a process group that there is already is used as it is.

    Args:
        share_bytes: what a rank may write between two messages: how long the others wait for it (10 minutes, and one
            second for each 20 MB).
        outcome: what a failure of one means for all.

    Raises:
        ArgumentError: RANK and WORLD_SIZE are not those of torchrun.
        WeightsError: the processes do not find each other.
    """
    here = _of_group(outcome)
    if here is not None or _world_size() == 1:
        yield here or Ranks(outcome=outcome)
        return
    _check_environment()
    import torch.distributed as dist
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    timeout = _SLACK + timedelta(seconds=share_bytes / _STEADY)
    try:
        store, rank, count = next(iter(rendezvous("env://", timeout=timeout)))
        # Under names of its own: the next group of this job would find the addresses of this one, long gone.
        times = (store.add("fanin/joined", 1) - 1) // count
        own = PrefixStore(f"fanin/{times}", store)
        dist.init_process_group("gloo", store=own, rank=rank, world_size=count, timeout=timeout)
    except (RuntimeError, ValueError) as error:
        raise WeightsError(f"the {_world_size()} processes do not find each other: {_cause(error)}") from error
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size(), dist.group.WORLD, outcome)
    finally:
        dist.destroy_process_group()


def threads_of_rank() -> int:
    """How many threads draw: all cores, shared with the other ranks of this host unless FANIN_NUM_THREADS says."""
    neighbours = os.environ.get("LOCAL_WORLD_SIZE", "1")
    if "FANIN_NUM_THREADS" in os.environ or not neighbours.isdecimal():
        return default_threads()
    return max(1, default_threads() // max(1, int(neighbours)))


def _cause(error: BaseException) -> str:
    """What torch says first, without where in its source.

    >>> _cause(RuntimeError("[/gloo/tcp/pair.cc:553] Connection closed by peer. This is typically …"))
    'Connection closed by peer'
    """
    return re.sub(r"^\[[^\]]*\]\s*", "", str(error).strip()).partition("\n")[0].partition(". ")[0]


def _of_group(outcome: Outcome) -> Ranks | None:
    """This process in the process group that there is already."""
    dist = sys.modules.get("torch.distributed")
    if dist is None or not dist.is_available() or not dist.is_initialized():
        return None
    count = dist.get_world_size()
    return Ranks(dist.get_rank(), count, dist.group.WORLD if count > 1 else None, outcome)


def _world_size() -> int:
    text = os.environ.get("WORLD_SIZE") or "1"
    if not text.isdecimal() or int(text) == 0:
        raise ArgumentError(f"WORLD_SIZE must be how many processes there are, got {text!r}")
    return int(text)


def _check_environment() -> None:
    names = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    missing = [name for name in names if name not in os.environ]
    if missing:
        raise ArgumentError(
            f"WORLD_SIZE is {os.environ['WORLD_SIZE']}, but there is no {' and no '.join(missing)}: start several "
            "processes with torchrun, or unset WORLD_SIZE to write with one"
        )
    rank, count = os.environ["RANK"], _world_size()
    if not rank.isdecimal() or int(rank) >= count:
        raise ArgumentError(f"RANK must be from 0 to {count - 1}, as WORLD_SIZE is {count}, got {rank!r}")
