"""Runs wanted, runs had: from the store where it has them, else trained, counted and kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter

from torch import nn

from fanin.race.course import Course
from fanin.race.engines import Lane, Method, choose_engine, train_lanes
from fanin.race.moment import Moment, Phase, Watch
from fanin.race.run import Run
from fanin.race.settings import Settings
from fanin.race.starts import Seeded
from fanin.race.store import Store, digest
from fanin.race.training import Trained


@dataclass(frozen=True, slots=True)
class Wanted:
    """A run that is wanted: start, seed, learning rate, steps."""

    start: str
    seed: int
    rate: float
    steps: int

    def run(self, trained: Trained) -> Run:
        """The run, trained."""
        return Run(self.start, self.seed, self.rate, trained.losses, trained.seen, trained.test_losses, trained.scores)


@dataclass(slots=True)
class Clock:
    """Seconds of training, and the steps of all runs in them."""

    seconds: float = 0.0
    steps: int = 0

    @property
    def per_step(self) -> float | None:
        """Seconds per step of one run."""
        return self.seconds / self.steps if self.steps else None


@dataclass(slots=True)
class Trainer:
    """Trains runs of one race.

    Attributes:
        seeded: from a start's name to its function from seed to model.
        settings: of the training.
        engine: of `train_lanes`.
        device: of `train_lanes`.
        watch: told each moment.
        store: where finished runs are kept, or None.
        marks: a digest of each start, in the keys of its runs.
    """

    seeded: Mapping[str, Seeded]
    settings: Settings
    engine: str | Method
    device: str
    watch: Watch
    store: Store | None = None
    marks: Mapping[str, str] = field(default_factory=dict)

    def train(
        self,
        wanted: Sequence[Wanted],
        course: Course,
        phase: Phase,
        mark: str,
        held: dict[Wanted, Trained],
        *,
        clock: Clock | None = None,
        best: Callable[[], str] = str,
    ) -> None:
        """Put every run that is wanted into `held`; what is finished is there also after Ctrl-C.

        Args:
            wanted: the runs.
            course: what they train on.
            phase: for `watch`.
            mark: of the course, for the keys of the store.
            held: filled.
            clock: counts the time.
            best: says who leads, for `watch`.
        """
        keys = {} if self.store is None else {each: self._key(each, mark) for each in wanted}
        if self.store is not None:
            held |= {each: found for each, key in keys.items() if (found := self.store.get(key)) is not None}
        missing = [each for each in wanted if each not in held]
        steps = [0] * len(missing)
        whole = sum(each.steps for each in wanted)
        before = sum(each.steps for each in wanted if each in held)

        def moment() -> None:
            done = (before + sum(steps)) / whole if whole else 1.0
            self.watch(Moment(phase, done, len(held), len(wanted), best()))

        def advanced(lane: int, step: int, loss: float) -> None:
            steps[lane] = step
            moment()

        moment()
        count, start = clock or Clock(), perf_counter()
        try:
            for index, trained in train_lanes(
                self._lanes(missing), course, self.settings, engine=self.engine, progress=advanced, device=self.device
            ):
                if not trained.complete:
                    continue
                each = missing[index]
                held[each] = trained
                count.steps += len(trained.losses)
                steps[index] = each.steps
                if self.store is not None:
                    self.store.keep(keys[each], each.run(trained))
                moment()
        finally:
            count.seconds += perf_counter() - start

    def with_engine(self, wanted: Sequence[Wanted], course: Course) -> Trainer:
        """The same with one engine for all its runs: the one given or kept, or the fastest for those wanted here."""
        if self.engine != "auto":
            return self
        kept = None if self.store is None else self.store.facts.get("engine")
        engine = (
            Method.parse(kept)
            if kept
            else choose_engine(self._lanes(wanted), course, self.settings, device=self.device).method
        )
        if self.store is not None:
            self.store.note(engine=str(engine))
        return replace(self, engine=engine)

    def _lanes(self, wanted: Sequence[Wanted]) -> list[Lane]:
        return [
            Lane(each.start, each.seed, each.rate, _Build(self.seeded[each.start], each.seed), each.steps)
            for each in wanted
        ]

    def _key(self, wanted: Wanted, mark: str) -> str:
        numbers = {
            name: value
            for name, value in self.settings.to_dict().items()
            if name not in ("steps", "learning_rate", "rates", "target")
        }
        return digest(self.marks[wanted.start], mark, numbers, wanted.seed, wanted.rate, wanted.steps)


@dataclass(frozen=True, slots=True)
class _Build:
    """The model of one seed."""

    build: Seeded
    seed: int

    def __call__(self) -> nn.Module:
        return self.build(self.seed)
