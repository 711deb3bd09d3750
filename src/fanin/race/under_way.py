"""One race under way: starts, speed, learning rates, runs, result."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

import fanin
from fanin.race.budget import Speed, fitting_steps, measured, runs_worth
from fanin.race.choice import Choice
from fanin.race.constant import constant_level
from fanin.race.course import Course
from fanin.race.interrupted import RaceInterrupted
from fanin.race.moment import Moment, Watch
from fanin.race.rates import Pilot, choose_rates, held_out
from fanin.race.result import RaceResult
from fanin.race.run import Run
from fanin.race.settings import Settings
from fanin.race.starts import Ground, Seeded, Start
from fanin.race.store import Store, course_digest, digest, sources, values_digest
from fanin.race.targets import resolved_target
from fanin.race.trainer import Clock, Trainer, Wanted
from fanin.race.training import Trained
from fanin.race.words import score_text

_STILL = 1e-12  # a learning rate for probes of the speed: nothing moves, so nothing comes to diverge


@dataclass(slots=True)
class UnderWay:
    """A race.

    Attributes:
        title: the model's name.
        racers: the starts.
        ground: the model's factory and the course.
        seeds: of the race.
        pilot_seeds: of the pilots; none of the race's.
        settings: of the training; its steps are chosen where there is a budget.
        engine: of `train_lanes`; "auto" until one is chosen.
        device: where to train.
        watch: told each moment.
        budget: seconds for all of it, or None.
        choices: the learning rates, once they are chosen.
        held: the finished runs.
        clock: the time they took.
    """

    title: str
    racers: Sequence[Start]
    ground: Ground
    seeds: tuple[int, ...]
    pilot_seeds: tuple[int, ...]
    settings: Settings
    engine: str
    device: str
    watch: Watch
    budget: float | None = None
    choices: tuple[Choice, ...] = ()
    held: dict[Wanted, Trained] = field(default_factory=dict[Wanted, Trained])
    clock: Clock = field(default_factory=Clock)

    @property
    def course(self) -> Course:
        """The data."""
        return self.ground.course

    @property
    def names(self) -> list[str]:
        """Of the starts."""
        return [racer.name for racer in self.racers]

    def run(self, place: str | Path | None, begun: float) -> RaceResult:
        """The whole race, kept at a place, begun at a time of `perf_counter`.

        Raises:
            RaceInterrupted: Ctrl-C.
            DataError: the place holds another race.
            ArgumentError: a budget too small for a step.
        """
        try:
            store = None if place is None else Store(place, self._identity())
            trainer = self._trainer(self._prepared(), store)
            if self.budget is not None:
                self.settings = self.settings.lasting(self._steps(trainer, self.budget, begun))
                trainer = replace(trainer, settings=self.settings)
            self._choose(trainer)
            self._race(trainer)
        except KeyboardInterrupt:
            partial = self.result() if self.held else None
            total = len(self.racers) * len(self.seeds)
            raise RaceInterrupted(partial, len(self.held), total, None if place is None else str(place)) from None
        return self.result()

    def _prepared(self) -> dict[str, Seeded]:
        seeded: dict[str, Seeded] = {}
        for done, racer in enumerate(self.racers):
            self.watch(Moment("starts", done / len(self.racers), done, len(self.racers)))
            seeded[racer.name] = racer.prepare(self.ground)
        return seeded

    def _trainer(self, seeded: dict[str, Seeded], store: Store | None) -> Trainer:
        # What a start is told by are the values it gives: they hold recipe, version, and a user's code alike.
        named = {} if store is None else seeded
        marks = {name: digest(name, values_digest(build(0))) for name, build in named.items()}
        trainer = Trainer(seeded, self.settings, self.engine, self.device, self.watch, store, marks)
        trainer = trainer.with_engine(self._all(dict.fromkeys(self.names, self._middle)), self.course)
        self.engine = str(trainer.engine)
        return trainer

    @property
    def _middle(self) -> float:
        return self.settings.grid[len(self.settings.grid) // 2]

    def _all(self, rates: dict[str, float]) -> list[Wanted]:
        """Every run, seed by seed, so that an interrupted race has pairs to compare."""
        return [Wanted(name, seed, rates[name], self.settings.steps) for seed in self.seeds for name in self.names]

    def _choose(self, trainer: Trainer) -> None:
        course, flown = held_out(self.course), dict[Wanted, Trained]()

        def fly(pilots: Sequence[Pilot]) -> dict[Pilot, Trained]:
            wanted = {pilot: Wanted(pilot.start, pilot.seed, pilot.rate, pilot.steps) for pilot in pilots}
            trainer.train(list(wanted.values()), course, "rates", "pilot", flown)
            return {pilot: flown[each] for pilot, each in wanted.items()}

        self.choices = choose_rates(self.names, self.settings.grid, self.settings.steps, self.pilot_seeds, fly)

    def _race(self, trainer: Trainer) -> None:
        wanted = self._all({choice.start: choice.rate for choice in self.choices})
        trainer.train(wanted, self.course, "race", "race", self.held, clock=self.clock, best=self._best)
        if trainer.store is not None:
            self.clock.seconds += trainer.store.facts.get("seconds", 0.0)
            self.clock.steps += trainer.store.facts.get("trained_steps", 0)
            trainer.store.note(seconds=self.clock.seconds, trained_steps=self.clock.steps)

    def _steps(self, trainer: Trainer, budget: float, begun: float) -> int:
        if trainer.store is not None and "steps" in trainer.store.facts:
            return trainer.store.facts["steps"]
        speed = self._speed(trainer, budget)
        worth = runs_worth(len(self.racers), len(self.seeds), len(self.settings.grid), len(self.pilot_seeds))
        spent, samples = perf_counter() - begun, len(self.course.train[1])
        steps = fitting_steps(budget, spent, speed, worth, samples, self.settings.batch_size)
        if trainer.store is not None:
            trainer.store.note(steps=steps)
        return steps

    def _speed(self, trainer: Trainer, budget: float) -> Speed:
        """That of the first start whose runs last; where none's do, the slowest."""
        speeds: list[Speed] = []
        for name in self.names:
            speed, lasted = self._speed_of(name, trainer, budget)
            if lasted:
                return speed
            speeds.append(speed)
        return max(speeds, key=lambda speed: speed.step)

    def _speed_of(self, name: str, trainer: Trainer, budget: float) -> tuple[Speed, bool]:
        """The speed, and whether every step that was timed was trained: a run that diverges stops before."""
        lasted = True

        def run(steps: int) -> float:
            nonlocal lasted
            probe = replace(trainer, settings=replace(self.settings, evaluate_every=steps), store=None)
            wanted = [Wanted(name, seed, _STILL, steps) for seed in self.seeds]
            held, start = dict[Wanted, Trained](), perf_counter()
            probe.train(wanted, self.course, "speed", "speed", held)
            lasted = lasted and all(len(trained.losses) == steps for trained in held.values())
            return perf_counter() - start

        return measured(len(self.seeds), budget, run), lasted

    def _best(self) -> str:
        asked = self.course.objective
        scored: dict[str, list[float]] = {}
        for each, trained in self.held.items():
            scored.setdefault(each.start, []).append(each.run(trained).final_score)
        means = {start: sum(scores) / len(scores) for start, scores in scored.items()}
        if not means:
            return ""
        start = (max if asked.higher_is_better else min)(means, key=lambda name: means[name])
        return f"{start} {score_text(means[start], asked)}"

    def result(self) -> RaceResult:
        """What the finished runs tell."""
        asked, level = self.course.objective, constant_level(self.course)
        found = {(each.start, each.seed): each.run(trained) for each, trained in self.held.items()}
        order = [(name, seed) for name in self.names for seed in self.seeds]
        runs = tuple(found[each] for each in order if each in found)
        target, rule, told = resolved_target(self.settings.target, self.course.target, _grouped(runs), asked, level)
        return RaceResult(
            self.title,
            self.settings,
            runs,
            target=target,
            target_rule=rule,
            level=level,
            task=asked.task,
            data=self.course.name,
            seeds=self.seeds,
            choices=self.choices,
            seconds_per_step=self.clock.per_step,
            engine=self.engine,
            made_with=_made_with(),
            notes=tuple(filter(None, (*map(_told, self.choices), told))),
        )

    def _identity(self) -> dict[str, Any]:
        """What the store of this race is known by; more starts or seeds are the same race."""
        with self.ground.lock:
            model = self.ground.factory()
        shapes = [(name, list(tensor.shape)) for name, tensor in model.state_dict().items()]
        numbers = self.settings.to_dict()
        del numbers["target"]  # says nothing about the runs
        if self.budget is not None:
            numbers |= {"steps": None, "evaluate_every": None, "budget": self.budget}
        return {
            "model": f"{self.title} {digest(repr(model), shapes, *sources(model))[:8]}",
            "data": f"{self.course.name} {course_digest(self.course)[:8]}".strip(),
            "settings": numbers,
        }


def _grouped(runs: Sequence[Run]) -> dict[str, list[Run]]:
    grouped: dict[str, list[Run]] = {}
    for run in runs:
        grouped.setdefault(run.start, []).append(run)
    return grouped


def _made_with() -> str:
    versions = f"fanin {fanin.__version__}, torch {torch.__version__}"
    return f"{versions}, {platform.machine()}, {torch.get_num_threads()} threads"


def _told(choice: Choice) -> str:
    """A note on a rate that the grid did not hold, or that may not be the best."""
    if choice.at_edge and choice.trials:
        return f"{choice.start}: the best learning rate, {choice.rate:g}, is at the edge of what was tried"
    return (
        f"{choice.start}: the grid of learning rates was extended; {choice.rate:g} was best" if choice.extended else ""
    )
