"""Checkpoints of `torch.distributed.checkpoint` (DCP), drawn while they are written."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.default_planner import DefaultSavePlanner
from torch.distributed.checkpoint.filesystem import FileSystemWriter
from torch.distributed.checkpoint.metadata import Metadata
from torch.distributed.checkpoint.planner import SavePlan, SavePlanner, WriteItem
from torch.distributed.checkpoint.state_dict_saver import save
from torch.futures import Future

import fanin
from fanin.checkpoints.dcp_items import Item, items_of, shares_of
from fanin.checkpoints.layout import dtype_named
from fanin.checkpoints.ranks import Ranks, threads_of_rank
from fanin.checkpoints.values import Values
from fanin.errors import FaninError, WeightsError
from fanin.plans import Plan
from fanin.torch.agreement.words import listed_ranks
from fanin.torch.files import file_metadata
from fanin.weights.atomic import atomic_file

METADATA, ABOUT = ".metadata", "fanin.json"
Progress = Callable[[int, int], None]
_MOST_AT_ONCE = 4  # items that are drawn or written at the same time: what memory there is for them


def write_dcp(
    plan: Plan,
    path: str | Path,
    seed: int = 0,
    *,
    dtype: str | None = None,
    overwrite: bool = False,
    ranks: Ranks | None = None,
    progress: Progress | None = None,
) -> tuple[str, ...]:
    """Write the values of a plan as a DCP folder, which `torch.distributed.checkpoint.load` reads; no model is built.

    Keys are the names of the model's state dict, at the top level; tied tensors stand under each of their names and
    are stored once. A rank draws and writes its share of about equal bytes, in pieces of at most 128 MiB (whole
    tensors for matrix laws and computed values), four at a time. `.metadata`, without which nothing loads, is written
    last. An interrupted write starts over. `fanin.json` tells seed, recipe and plan hash.

    `.metadata` is a pickle that torch writes and reads; fanin reads none.

    Args:
        plan: of the model.
        path: the folder; made if it is not there.
        seed: from 0 to 2⁶⁴ − 1.
        dtype: of all floating tensors, as in `fanin.write`; None: each has its own.
        overwrite: replace a checkpoint that is there.
        ranks: the processes that write together; by default this one alone.
        progress: called with the bytes that this rank has written and those of its share.

    Returns:
        the names of the folder's files.

    Raises:
        PlanError: a step that gives no values.
        WeightsError: there is a checkpoint already, or it cannot be written.

    Source: torch.distributed.checkpoint, FileSystemWriter and SavePlanner.
    """
    folder, crew = Path(path), ranks or Ranks()
    items = items_of(plan, dtype_named(dtype))
    values = Values.of(plan, seed, threads_of_rank())
    crew.agreed({"fanin version": fanin.__version__, "seed": seed, "plan hash": plan.hash, "dtype": dtype})
    share = shares_of(items, crew.count)[crew.rank]
    crew.together(lambda: _cleared(folder, overwrite) if crew.first else None)
    planner = _Drawing(share, values, {step.name: step.aliases for step in plan.steps})
    writer = _writer(folder, planner.aliases, _Counter(progress, sum(item.nbytes for item in share)))
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "torch.distributed is disabled")
            save({}, storage_writer=writer, planner=planner, no_dist=crew.group is None)
    except CheckpointException as error:
        raise _failure(error, folder) from error
    if crew.first:
        about = file_metadata({item.dtype for item in items}, plan, seed)
        with atomic_file(folder / ABOUT) as file:
            file.write((json.dumps(about, indent=1) + "\n").encode())
    return tuple(sorted(path.name for path in folder.iterdir() if path.name == METADATA or path.suffix == ".distcp"))


def _cleared(folder: Path, overwrite: bool) -> None:
    """The folder without a checkpoint: what is written next to an old `.metadata` would look finished."""
    if (folder / METADATA).exists() and not overwrite:
        raise WeightsError(
            "there is a checkpoint already: choose another folder, or replace it with --force (overwrite=True)",
            path=folder,
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / METADATA).unlink(missing_ok=True)
        for old in folder.glob("__*.distcp"):
            old.unlink()
    except OSError as error:
        raise WeightsError(f"cannot be written: {error.strerror}", path=folder) from error


class _Drawing(DefaultSavePlanner):
    """A planner whose state dict is the plan: values exist while they are written, and no longer."""

    def __init__(self, share: Sequence[Item], values: Values, aliases: Mapping[str, tuple[str, ...]]) -> None:
        super().__init__(flatten_state_dict=False, flatten_sharded_tensors=False)
        self.aliases = aliases
        self._values = values
        self._items = {item.key: item for item in share}

    def create_local_plan(self) -> SavePlan:
        return SavePlan([item.to_write() for item in self._items.values()])

    def create_global_plan(self, all_plans: list[SavePlan]) -> tuple[list[SavePlan], Metadata]:
        plans, metadata = super().create_global_plan(all_plans)
        stored = metadata.state_dict_metadata
        stored |= {alias: stored[name] for name in list(stored) for alias in self.aliases[name]}
        return plans, metadata

    def resolve_data(self, write_item: WriteItem) -> torch.Tensor:
        item = self._items[write_item.index.fqn, tuple(write_item.index.offset or ())]
        out = torch.empty(item.region.size, dtype=getattr(torch, item.dtype), device="cpu")
        if out.numel():
            self._values.source(item.name).read(out.view(-1), item.first)
        return out


class _Counter:
    """Bytes written so far, told to whoever watches."""

    def __init__(self, progress: Progress | None, due: int) -> None:
        self._progress, self._due, self._done, self._lock = progress, due, 0, Lock()

    def add(self, count: int) -> None:
        with self._lock:
            self._done += count
            if self._progress is not None:
                self._progress(self._done, self._due)


def _writer(folder: Path, aliases: Mapping[str, tuple[str, ...]], counter: _Counter) -> Any:
    """A writer of one file for each item, so that torch holds no more than the items in flight."""

    class Writer(FileSystemWriter):
        def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[Any]:
            results: list[Any] = []
            parent = super()
            with ThreadPoolExecutor(min(_MOST_AT_ONCE, threads_of_rank())) as pool:
                work = {
                    pool.submit(parent.write_data, _single(plan, number), planner): item
                    for number, item in enumerate(plan.items)
                }
                try:
                    for done in as_completed(work):
                        results += done.result().value()
                        counter.add(work[done].tensor_storage_size() or 0)
                except BaseException:
                    pool.shutdown(wait=True, cancel_futures=True)
                    raise
            found: Future[Any] = Future()
            found.set_result([named for result in results for named in _named(result, aliases)])
            return found

    return Writer(folder, single_file_per_rank=False)


def _single(plan: SavePlan, number: int) -> SavePlan:
    """The plan of one item, whose file has a name of its own."""
    prefix = replace(plan.storage_data, prefix=f"{plan.storage_data.prefix}{number}_")
    return replace(plan, items=[plan.items[number]], storage_data=prefix)


def _named(result: Any, aliases: Mapping[str, tuple[str, ...]]) -> list[Any]:
    """Where an item lies, under each name of its tensor."""
    others = aliases[result.index.fqn]
    return [result, *(replace(result, index=replace(result.index, fqn=alias)) for alias in others)]


def _failure(error: CheckpointException, folder: Path) -> BaseException:
    """What torch collected from all ranks, in one sentence; an interrupt as it is."""
    causes = {rank: failure[0] for rank, failure in error.failures.items()}
    first = causes[min(causes)]
    if isinstance(first, KeyboardInterrupt) or (isinstance(first, FaninError) and len(causes) == 1):
        return first
    return WeightsError(
        f"cannot be written: {listed_ranks(causes)} failed: {first}. The folder has no {METADATA} and loads nowhere; "
        "mend that and write again",
        path=folder,
    )
