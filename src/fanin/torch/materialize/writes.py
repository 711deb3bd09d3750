"""Writing every tensor of a plan once, on all threads, and proving it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from threading import Lock

import torch

from fanin.errors import FaninError
from fanin.plans.steps import Copy, Draw, Replay
from fanin.random import Stream, default_threads
from fanin.torch.fill import fill
from fanin.torch.materialize.checks import Task
from fanin.torch.materialize.memory import Memory
from fanin.torch.replay import Draws, Sources, limit_for, run

Read = Callable[[str], torch.Tensor]

_SPLIT = 1 << 18  # elements from which a tensor may be worth splitting between threads


@dataclass(slots=True)
class Writes:
    """One run of a plan: what is written where, and what was."""

    tasks: Sequence[Task]
    memory: Memory
    seed: int
    progress: Callable[[int, int], None] | None = None
    _named: dict[str, Task] = field(init=False)
    _ready: dict[str, torch.Tensor] = field(default_factory=dict)
    _written: Counter[str] = field(default_factory=Counter)
    _times: Counter[str] = field(default_factory=Counter)
    _done: int = 0
    _due: int = field(init=False)
    _lock: Lock = field(default_factory=Lock)

    def __post_init__(self) -> None:
        self._named = {task.step.name: task for task in self.tasks}
        self._due = sum(task.stored.tensor.numel() for task in self.tasks if task.writes)

    def run(self) -> None:
        """Do all tasks, each after those it reads from; programs come first, as their values may make them fail."""
        for task in self.tasks:
            if isinstance(task.step.action, Replay) and not _is_copy(task.step.action):
                self._ready[task.step.name] = self._replayed(task, task.step.action.program)
        threads = default_threads()
        for wave in self._waves():
            share = sum(task.stored.tensor.numel() for task in wave) // (4 * threads)
            large = [task for task in wave if threads > 1 and _is_split(task, share)]
            small = [task for task in wave if id(task) not in {id(split) for split in large}]
            for task in large:
                self._write(task, None)
                self._report()
            if threads == 1 or len(small) < 2:
                for task in small:
                    self._write(task, 1)
                    self._report()
            else:
                self._share_out(small, threads)

    def prove(self) -> None:
        """Raise unless every tensor that the plan writes was written whole, exactly once, and no other.

        Raises:
            FaninError: which tensor was not.
        """
        for task in self.tasks:
            name, due = task.step.name, task.stored.tensor.numel() if task.writes else 0
            if (self._times[name], self._written[name]) != (int(task.writes), due):
                raise FaninError(
                    f"{name!r} was written {self._times[name]} times, {self._written[name]} elements in all; due were "
                    f"{int(task.writes)} and {due}. The model's values cannot be trusted: please report this"
                )

    def _waves(self) -> Iterator[list[Task]]:
        """Groups of tasks in which none reads from another."""
        wave: list[Task] = []
        names: set[str] = set()
        for task in self.tasks:
            if not names.isdisjoint(task.after):
                yield wave
                wave, names = [], set()
            if task.writes:
                wave.append(task)
                names.add(task.step.name)
        yield wave

    def _share_out(self, tasks: Sequence[Task], threads: int) -> None:
        """Each thread takes runs of whole tensors."""
        runs = _runs(sorted(tasks, key=lambda task: task.stored.tensor.numel(), reverse=True), 4 * threads)
        with ThreadPoolExecutor(threads) as pool:
            futures: list[Future[None]] = [pool.submit(self._write_run, run) for run in runs]
            for done in as_completed(futures):
                done.result()
                self._report()

    def _write_run(self, tasks: Sequence[Task]) -> None:
        for task in tasks:
            self._write(task, 1)

    def _write(self, task: Task, threads: int | None) -> None:
        target = self.memory[task.step.name]
        # Modes are a thread's own, and an inference tensor takes writes in inference mode only.
        with torch.inference_mode(target.is_inference()), torch.no_grad():
            self._fill(task, target, threads, self.memory.__getitem__)
        self._ready.pop(task.step.name, None)
        with self._lock:
            self._times[task.step.name] += 1
            self._written[task.step.name] += target.numel()
            self._done += target.numel()

    def _fill(self, task: Task, target: torch.Tensor, threads: int | None, read: Read) -> None:
        match task.step.action:
            case Draw(law):
                fill(_distinct(target), law, Stream.named(self.seed, task.step.name), threads=threads)
            case Replay():
                ready = self._ready.get(task.step.name)
                _assign(target, read(task.after[0]) if ready is None else ready)
            case Copy() if task.source is not None:
                _assign(target, task.source)
            case _:
                raise FaninError(f"{task.step.name!r} is a step that writes nothing, yet it was to be written")

    def _replayed(self, task: Task, program: tuple[object, ...]) -> torch.Tensor:
        sources = Sources(self._foretold, lambda draws: self._drawn(task, draws))
        return run(program, sources, limit=limit_for(task.step.shape))

    def _foretold(self, name: str) -> torch.Tensor:
        """The values that a tensor is going to have, laid out as it is, before it is written."""
        task, target = self._named[name], self.memory[name]
        if not task.writes:
            return target.cpu()
        values = torch.empty_strided(target.shape, target.stride(), dtype=target.dtype, device="cpu")
        self._fill(task, values, None, self._foretold)
        return values

    def _drawn(self, task: Task, draws: Draws) -> torch.Tensor:
        values = torch.empty(draws.shape, dtype=draws.dtype, device="cpu")
        stream = Stream.named(self.seed, draws.stream or task.step.name).at_lane(draws.lane)
        fill(values, draws.law, stream)
        return values

    def _report(self) -> None:
        if self.progress is not None:
            self.progress(self._done, self._due)


def _is_copy(action: Replay) -> bool:
    """Whether the program copies another tensor as it is, which cannot fail."""
    return [line[0] for line in action.program] == ["tensor", "alias.default"]


def _is_split(task: Task, share: int) -> bool:
    """Whether a tensor is split between threads rather than given to one, of which each gets about four shares."""
    action, numel = task.step.action, task.stored.tensor.numel()
    return isinstance(action, Draw) and (numel >= max(_SPLIT, share) or not action.initializer.elementwise)


def _assign(target: torch.Tensor, values: torch.Tensor) -> None:
    """Copy `values` into `target`, each element of memory once."""
    for axis in _repeated(target):
        target, values = target.narrow(axis, 0, 1), values.narrow(axis, 0, 1)
    target.copy_(values)


def _distinct(target: torch.Tensor) -> torch.Tensor:
    """The part of an expanded tensor that is all its memory."""
    for axis in _repeated(target):
        target = target.narrow(axis, 0, 1)
    return target


def _repeated(target: torch.Tensor) -> list[int]:
    """Dimensions along which all elements are one in memory."""
    layout = enumerate(zip(target.shape, target.stride(), strict=True))
    return [axis for axis, (size, step) in layout if step == 0 and size > 1]


def _runs(tasks: Sequence[Task], count: int) -> list[list[Task]]:
    """`tasks` (largest first) in at most `count` runs of about equal size."""
    runs: list[list[Task]] = [[] for _ in range(min(count, len(tasks)))]
    sizes = [0] * len(runs)
    for task in tasks:
        least = sizes.index(min(sizes))
        runs[least].append(task)
        sizes[least] += task.stored.tensor.numel() + 4096
    return runs
