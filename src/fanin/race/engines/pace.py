"""How fast a method trains: a few warm steps, timed."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from statistics import median
from time import perf_counter

import torch

from fanin.race.engines.record import Record
from fanin.race.engines.units import Task, Unit

_WARM = 2  # steps before kernels are compiled and memory is warm; the first look of all is slow, too
_LOOK = 4  # every so many steps there is a look
_FEWEST = 6  # steps, with a look among them; of slow ones, for which the rest matters less, two suffice
_SLOW = 0.5  # seconds
_MOST = 10_000


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds of a unit, and what it computed.

    Attributes:
        build: making its models.
        look: at the test data.
        step: one step.
        losses: of its first steps, lane by lane.
        draws: whether it used the global random state after its models were made.
    """

    build: float
    look: float
    step: float
    losses: tuple[tuple[float, ...], ...]
    draws: bool

    def of(self, steps: int, looks: int) -> float:
        """Seconds of a unit of so many steps, and so many looks at the test data."""
        return self.build + steps * self.step + looks * self.look


def pace(task: Task, unit: Unit, seconds: float) -> Pace:
    """Time a unit of a task: its models, some steps, some of them with looks at the test data.

    Args:
        task: what, and how.
        unit: of the task.
        seconds: that the steps may take, unless they are too few. Their median counts: threads that wait for one
            another do so in most of them, not in the fastest.
    """
    lanes = tuple(replace(lane, steps=_MOST) for lane in task.lanes)
    endless = replace(task, lanes=lanes, settings=replace(task.settings, evaluate_every=_LOOK))
    records = [Record() for _ in unit]
    begun = perf_counter()
    models = endless.build(unit)
    built = perf_counter()
    state = torch.get_rng_state()
    with closing(_walk(endless.steps(models, unit, records), seconds)) as walk:
        times = dict(enumerate(walk))
    draws = not torch.equal(state, torch.get_rng_state())
    first = min(_WARM, len(times) - 2)
    step = median(time for number, time in times.items() if number > first and number % _LOOK)
    looks = [time for number, time in times.items() if number and number % _LOOK == 0]
    looked = median(looks) if looks else step + times[0]
    losses = tuple(tuple(record.losses) for record in records)
    return Pace(built - begun, max(0.0, looked - step), step, losses, draws)


def _walk(steps: Iterator[None], seconds: float) -> Generator[float]:
    """Seconds of each step, after those of what is before the first, until there are enough of them or of seconds."""
    trained = 0.0
    begun = perf_counter()
    for number, _ in enumerate(steps):
        time = perf_counter() - begun
        trained += time if number else 0.0
        yield time
        if trained > seconds and (number >= _FEWEST or (number > 1 and trained > _SLOW)):
            return
        begun = perf_counter()
