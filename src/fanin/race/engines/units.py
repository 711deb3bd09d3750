"""What a worker trains at a time: one lane, or a group that is stacked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from numbers import Number
from threading import Lock
from time import monotonic
from typing import Any

import torch
from torch import nn

from fanin.race.course import Course
from fanin.race.engines.lanes import Lane, Progress
from fanin.race.engines.method import Method
from fanin.race.engines.record import Record
from fanin.race.engines.single import built, single
from fanin.race.engines.stacked import stacked
from fanin.race.settings import Settings
from fanin.race.training import Trained

Unit = tuple[int, ...]
"""Numbers of lanes."""
_TELL = 0.1  # seconds between two words on the progress


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """All that is to be trained, and how."""

    lanes: Sequence[Lane]
    course: Course
    settings: Settings
    method: Method
    building: Lock = field(default_factory=Lock)

    def units(self) -> list[Unit]:
        """The longest first, so that the workers end together; a group has one rate and one number of steps."""
        indices = sorted(range(len(self.lanes)), key=lambda index: -self.lanes[index].steps)
        if self.method.engine != "stacked":
            return [(index,) for index in indices]
        alike: dict[tuple[int, float], list[int]] = {}
        for index in indices:
            alike.setdefault((self.lanes[index].steps, self.lanes[index].rate), []).append(index)
        return [unit for group in alike.values() for unit in self._shares(group)]

    def _shares(self, group: list[int]) -> list[Unit]:
        """Parts of nearly one size, as many as give each worker the same number."""
        rounds = -(-len(group) // (self.method.group * self.method.workers))
        size = -(-len(group) // (rounds * self.method.workers))
        return [tuple(group[first : first + size]) for first in range(0, len(group), size)]

    def run(self, unit: Unit, stopped: Callable[[], bool], tell: Progress) -> Iterator[tuple[int, Trained]]:
        """Train a unit; in halves where its memory does not suffice.

        Where `stopped` says so, or Ctrl-C is pressed, the rest comes as it stands, not complete.
        """
        waiting = [unit]
        while waiting:
            indices = waiting.pop(0)
            records = [Record() for _ in indices]
            try:
                self._train(indices, records, stopped, tell)
            except KeyboardInterrupt:
                yield from _results(indices, records)
                raise
            except (MemoryError, torch.OutOfMemoryError, RuntimeError) as error:
                if len(indices) == 1 or not is_memory(error):
                    raise
                half = len(indices) // 2
                waiting[:0] = [indices[:half], indices[half:]]
            else:
                yield from _results(indices, records)
                if stopped():
                    return

    def _train(self, indices: Unit, records: Sequence[Record], stopped: Callable[[], bool], tell: Progress) -> None:
        told = monotonic()
        for _ in self.steps(self.build(indices), indices, records):
            if stopped():
                return
            if monotonic() - told > _TELL:
                told = monotonic()
                _tell(indices, records, tell)
        _tell(indices, records, tell)

    def build(self, indices: Unit) -> list[nn.Module]:
        """The models of these lanes."""
        with self.building:  # it seeds the random state that all threads share
            return [built(self.lanes[index]) for index in indices]

    def steps(self, models: list[nn.Module], indices: Unit, records: Sequence[Record]) -> Iterator[None]:
        """Train `models`, which are used up; pauses after the look before the first step, and after each step."""
        lanes = [self.lanes[index] for index in indices]
        if self.method.engine != "stacked":
            yield from single(models.pop(), lanes[0], self.course, self.settings, self.method, records[0])
            return
        alike: dict[Any, list[int]] = {}
        for place, model in enumerate(models):
            alike.setdefault(kind(model), []).append(place)
        groups = [([models[place] for place in places], places) for places in alike.values()]
        models.clear()
        for group, places in groups:
            some = [lanes[place] for place in places]
            yield from stacked(group, some, self.course, self.settings, [records[place] for place in places])


def is_memory(error: BaseException) -> bool:
    """Whether an error says that memory does not suffice."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in str(error)


def kind(model: nn.Module) -> tuple[Any, ...]:
    """Equal for models that one stack can train: of those, only the values of tensors may differ."""
    tensors = [*model.named_parameters(), *model.named_buffers()]
    return (
        repr(model),
        *((name, each.shape, each.dtype, each.requires_grad) for name, each in tensors),
        *((name, type(module), _plain(module)) for name, module in model.named_modules()),
    )


def _plain(module: nn.Module) -> tuple[tuple[str, Any], ...]:
    """The attributes that a forward may use and that a text need not show: scales, slopes, modes."""
    values = vars(module).items()
    return tuple((name, value) for name, value in values if value is None or isinstance(value, Number | str))


def _results(indices: Unit, records: Sequence[Record]) -> Iterator[tuple[int, Trained]]:
    for index, record in zip(indices, records, strict=True):
        trained = record.trained()
        if trained is not None:
            yield index, trained


def _tell(indices: Unit, records: Sequence[Record], tell: Progress) -> None:
    for index, record in zip(indices, records, strict=True):
        if record.losses:
            tell(index, len(record.losses), record.losses[-1])
