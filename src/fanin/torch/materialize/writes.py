"""Writing every tensor of a plan once, on all threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from threading import Lock

import numpy as np
import torch

from fanin.plans.steps import Draw
from fanin.random import Stream, default_threads
from fanin.torch.fill import fill, fill_pieces
from fanin.torch.materialize.batches import Batch, batched
from fanin.torch.materialize.forms import InPlace
from fanin.torch.materialize.ledger import Ledger
from fanin.torch.materialize.memory import Memory
from fanin.torch.materialize.programs import Programs, values_of
from fanin.torch.materialize.readings import Reading
from fanin.torch.materialize.sentinels import Sentinels
from fanin.torch.materialize.tasks import Task
from fanin.torch.materialize.unchanged import Unchanged
from fanin.torch.pieces import is_part, pieces_of
from fanin.torch.reads import Parts, Reads

_BATCH = 1 << 24  # elements that are written between two reports of progress
_READ = 1 << 24  # bytes for each thread, that are read between two reports of progress
_SPLIT = 1 << 18  # elements from which a tensor may be worth splitting between threads


@dataclass(slots=True)
class Writes:
    """One run of a plan: what is written where, and what was.

    Attributes:
        tasks: each after those that its program reads.
        memory: of all tensors that the model holds.
        lying: where the tasks' tensors are, if all are usual and have memory of the model.
    """

    tasks: Sequence[Task]
    memory: Memory
    seed: int
    progress: Callable[[int, int], None] | None = None
    lying: InPlace | None = None
    ledger: Ledger = field(init=False)
    _programs: Programs = field(init=False)
    _unchanged: Unchanged = field(init=False)
    _sentinels: Sentinels = field(init=False)

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.tasks, self.memory, self.lying)
        self._programs = Programs(() if self.lying else self.tasks, self.memory, self.seed)
        self._unchanged = Unchanged(self.tasks, self.memory, self.lying)
        self._sentinels = Sentinels.over(() if self.lying else self.tasks, self.memory)

    def run(self) -> None:
        """Write all values; whatever can fail because of the plan fails before the first one.

        Raises:
            HalfWrittenError: the run ended early and tensors that the model had before have been written.
        """
        self._programs.compute()
        batches = batched(self.tasks, self.memory, self.seed, self.lying)
        self._sentinels.plant(default_threads())
        try:
            self._write_all(batches)
            self._unchanged.check_after()
        except Exception as error:
            stopped = self.ledger.stopped(error)
            if stopped is None:
                raise
            raise stopped from error
        except BaseException as interrupt:  # Ctrl-C must stay what it is
            stopped = self.ledger.stopped(interrupt)
            if stopped is not None:
                interrupt.add_note(str(stopped))
            raise

    def prove(self) -> None:
        """Raise unless every tensor that the plan writes was written whole, exactly once, and no other.

        Raises:
            FaninError: which tensor was not.
        """
        self.ledger.prove()
        self._sentinels.check(default_threads())

    def _write_all(self, batches: Sequence[Batch]) -> None:
        threads = default_threads()
        for batch in batches:
            for part in batch.cut(_BATCH):
                self._write_batch(part, threads)
        drawn = np.zeros(len(self.tasks), np.bool_)
        for batch in batches:
            drawn[batch.owners] = True
        rest = [number for number in np.flatnonzero(~drawn).tolist() if self._is_due(number)]
        read = self._read_files(rest, threads)
        self._write_rest([number for number in rest if number not in read], threads)

    def _is_due(self, number: int) -> bool:
        return self.tasks[number].held and self.tasks[number].writes

    def _write_rest(self, numbers: Sequence[int], threads: int) -> None:
        by_kind: dict[str, list[int]] = {"copy": [], "alone": [], "beside": []}
        for number in numbers:
            task = self.tasks[number]
            alone = threads == 1 or _uses_all_threads(task, self.memory[task.step.name])
            by_kind["copy" if self._programs.is_copy(task) else "alone" if alone else "beside"].append(number)
        for number in by_kind["alone"]:
            self._write(number, None)
            self._report()
        self._share_out(by_kind["beside"], threads)
        for number in by_kind["copy"]:  # in the tasks' order: each after what it copies
            self._write(number, None)
            self._report()

    def _read_files(self, numbers: Sequence[int], threads: int) -> set[int]:
        """Read what lies in files as it is to lie in memory, by all threads; which tasks that were."""
        readings = [reading for number in numbers if (reading := Reading.of(self.tasks[number], number, self.memory))]
        if not readings:
            return set()
        self._unchanged.check_before([each.number for each in readings])

        tasks = np.array([each.number for each in readings])
        sizes = np.array([each.target.itemsize for each in readings])

        def begun(parts: Parts) -> None:
            self.ledger.begin(tasks[parts.numbers])

        def done(parts: Parts) -> None:
            with adding:
                self.ledger.finish(tasks[parts.numbers], (parts.ends - parts.begins) // sizes[parts.numbers])

        adding = Lock()  # a tensor may lie in windows of several threads
        for reads in Reads.of([each.read for each in readings], max(each.target.nbytes for each in readings)):
            for part in [reads] if self.progress is None else reads.cut(_READ * threads):
                part.run(threads, begun, done)
                self._report()
        for each in readings:
            each.check()
        return {each.number for each in readings}

    def _write_batch(self, batch: Batch, threads: int) -> None:
        self._unchanged.check_before(batch.owners.tolist())
        self.ledger.begin(batch.owners)
        batch.write(threads)
        self.ledger.finish(batch.owners, batch.rows.counts)
        self._report()

    def _share_out(self, numbers: Sequence[int], threads: int) -> None:
        """Each thread takes runs of whole tensors."""
        if not numbers:
            return
        runs = [numbers[first :: 4 * threads] for first in range(min(4 * threads, len(numbers)))]
        pool = ThreadPoolExecutor(threads)
        try:
            for done in as_completed([pool.submit(self._write_run, run) for run in runs]):
                done.result()
                self._report()
        finally:
            pool.shutdown(cancel_futures=True)

    def _write_run(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            self._write(number, 1)

    def _write(self, number: int, threads: int | None) -> None:
        task = self.tasks[number]
        target = self.memory[task.step.name].data if task.usual else self.memory[task.step.name]
        self._unchanged.check_before([number])
        self.ledger.begin(number)
        # Modes are a thread's own, and an inference tensor takes writes in inference mode only.
        with torch.inference_mode(target.is_inference()), torch.no_grad():
            elements = self._put(task, target, threads)
        self.ledger.finish(number, elements)

    def _put(self, task: Task, target: torch.Tensor, threads: int | None) -> int:
        """Write a tensor's values; how many elements of it have theirs now."""
        if isinstance(task.step.action, Draw):
            return self._draw(task.step.action, task, target, threads)
        source = task.source
        values = values_of(task, self._programs)
        elements = self._take(target, values)
        if source is not None:
            source.release()
        return elements

    def _take(self, target: torch.Tensor, values: torch.Tensor) -> int:
        if not is_part(target):
            _assign(target, values)
            return target.numel()
        pieces = pieces_of(target)
        for piece in pieces:
            part = zip(piece.region.start, piece.region.size, strict=True)
            piece.memory.copy_(values[tuple(slice(first, first + count) for first, count in part)])
        return sum(piece.region.numel for piece in pieces)

    def _draw(self, action: Draw, task: Task, target: torch.Tensor, threads: int | None) -> int:
        stream = Stream.named(self.seed, task.step.name)
        if _repeated(target):
            fill(_distinct(target), action.initializer, stream, threads=threads)
            return target.numel()
        pieces = pieces_of(target)
        fill_pieces(pieces, action.initializer, stream, threads=threads)
        return sum(piece.region.numel for piece in pieces)

    def _report(self) -> None:
        if self.progress is not None:
            self.progress(int(self.ledger.written.sum()), int(self.ledger.due.sum()))


def _uses_all_threads(task: Task, target: torch.Tensor) -> bool:
    """Whether its values are computed by all threads at a time, rather than by one beside other tensors."""
    action, numel = task.step.action, task.stored.tensor.numel()
    if task.source is not None:
        # It is not read straight into its place, but is memory until it is copied by all of torch's threads.
        return True
    return isinstance(action, Draw) and (numel >= _SPLIT or not action.initializer.elementwise)


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
    if is_part(target):
        return []
    layout = enumerate(zip(target.shape, target.stride(), strict=True))
    return [axis for axis, (size, step) in layout if step == 0 and size > 1]
