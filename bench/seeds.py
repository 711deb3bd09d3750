"""Sixteen seeds of a model on MNIST-5k: fanin's engines against a plain PyTorch loop over the seeds.

All take turns in one process, so that a noisy machine disturbs them alike. The plain loop has torch's own number of
threads. Both start from the same weights, see the same batches, keep every step's loss and look at the test data before
and after. How far their losses are apart is in the table too.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from time import perf_counter, sleep

import torch
from rows import table
from torch import nn

import fanin.models
from fanin.race.course import Course, course
from fanin.race.engines import Lane, Method, choose_engine, train_lanes
from fanin.race.settings import Settings
from fanin.race.training import batches

SEEDS = 16
STEPS = 200
ROUNDS = 7
WANTED = 1.7
BATCHES = (32, 64, 100)
MODELS = ("mnist-fc", "mnist-cnn")
LARGER = "resnet:depth=20"
LARGER_STEPS = 4
RATE = 0.01
HEAD = ["model", "batch", "how", "ms per step of a lane", "CPU ms", "times faster", "wanted", "largest difference"]
NOTE = """

All sixteen networks, their making and two looks at 200 test images are in the times. The plain loop has all of torch's
threads for one network at a time; `auto` is what the probe takes. The difference is the largest one of any loss of any
seed; rounding grows with training.
"""


@dataclass(frozen=True, slots=True)
class Turn:
    """One training of all seeds: seconds by the clock and of the processors, and each seed's losses."""

    seconds: float
    cpu: float
    losses: list[list[float]]


@dataclass(frozen=True, slots=True)
class Contest:
    """A model, a batch size and how it was trained, in turns with the plain loop."""

    model: str
    batch: int
    steps: int
    how: str
    plain: Sequence[Turn]
    turns: Sequence[Turn]
    wanted: float | None = None

    @property
    def faster(self) -> float:
        """Median over the rounds, so that each turn is compared with its neighbour."""
        return median(one.seconds / other.seconds for one, other in zip(self.plain, self.turns, strict=True))

    @property
    def reached(self) -> bool:
        """Whether it is as much faster as it must be."""
        return self.wanted is None or self.faster >= self.wanted

    @property
    def difference(self) -> float:
        """Largest relative difference of a loss, over all seeds and steps."""
        return max(
            abs(one - other) / one
            for mine, theirs in zip(self.plain[0].losses, self.turns[0].losses, strict=True)
            for one, other in zip(mine, theirs, strict=True)
        )

    def cells(self) -> list[str]:
        """A line of the table."""
        each = 1e3 / (SEEDS * self.steps)
        best = [each * min(turn.seconds for turn in self.turns), each * min(turn.cpu for turn in self.turns)]
        wanted = f"≥ {self.wanted:g}×" + ("" if self.reached else " **missed**") if self.wanted else ""
        numbers = [f"{best[0]:.2f}", f"{best[1]:.2f}", f"{self.faster:.2f}×", wanted, f"{self.difference:.0e}"]
        return [f"`{self.model}`", str(self.batch), self.how, *numbers]


def contests() -> list[Contest]:
    """Every model and batch size; the choice of "auto" is named."""
    sizes = [(model, batch, STEPS) for model in MODELS for batch in BATCHES]
    data = course("mnist,train=4000,test=200")
    return [found for size in (*sizes, (LARGER, 64, LARGER_STEPS)) for found in _contests(*size, data)]


def markdown(found: Sequence[Contest]) -> str:
    """The contests as a Markdown table."""
    return table(HEAD, [contest.cells() for contest in found]) + NOTE


def _contests(model: str, batch: int, steps: int, data: Course) -> list[Contest]:
    settings = Settings(steps=steps, batch_size=batch, evaluate_every=steps)
    build = fanin.models.factory(model, data.sizes)
    lanes = [Lane("native", seed, RATE, partial(_built, build, seed), steps) for seed in range(SEEDS)]
    long = [Lane(lane.start, lane.seed, lane.rate, lane.build, 10 * steps) for lane in lanes]  # a race of pilots, too
    chosen = str(choose_engine(long, data, settings).method)
    cpus = len(os.sched_getaffinity(0))
    engines = [Method("threads", cpus), Method("stacked", cpus, group=SEEDS // cpus)]
    ways = {f"`{method}`": str(method) for method in engines} | {f"`auto`: `{chosen}`": chosen}
    actions: list[Callable[[], list[list[float]]]] = [
        partial(_plain, lanes, data, settings),
        *(partial(_ours, lanes, data, settings, engine) for engine in ways.values()),
    ]
    rounds = [[_turn(action) for action in actions] for _ in range(ROUNDS + 1)][1:]  # the first one warms up
    plain, *others = zip(*rounds, strict=True)
    base = Contest(model, batch, steps, "plain loop", plain, plain)
    wanted = {f"`auto`: `{chosen}`": WANTED} if model in MODELS else {}
    return [
        base,
        *(
            Contest(model, batch, steps, how, plain, turns, wanted.get(how))
            for how, turns in zip(ways, others, strict=True)
        ),
    ]


def _built(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return build()


def _turn(action: Callable[[], list[list[float]]]) -> Turn:
    sleep(0.01)  # idle threads of a library may still spin on a core
    before, begun = os.times(), perf_counter()
    losses = action()
    seconds, after = perf_counter() - begun, os.times()
    return Turn(seconds, sum(after[:4]) - sum(before[:4]), losses)  # of this process and of the children that ended


def _ours(lanes: Sequence[Lane], data: Course, settings: Settings, engine: str) -> list[list[float]]:
    found = dict(train_lanes(lanes, data, settings, engine=engine))
    return [list(found[index].losses) for index in range(len(lanes))]


def _plain(lanes: Sequence[Lane], data: Course, settings: Settings) -> list[list[float]]:
    """As anybody writes it."""
    every: list[list[float]] = []
    inputs, labels = data.train
    for lane in lanes:
        model = lane.build()
        optimizer = torch.optim.SGD(model.parameters(), lr=lane.rate, momentum=0.9)
        losses: list[float] = []
        _test(model, data)
        model.train()
        for chosen in batches(len(labels), settings, lane.seed):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs[chosen]), labels[chosen])
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        _test(model, data)
        every.append(losses)
    return every


def _test(model: nn.Module, data: Course) -> tuple[float, float]:
    """(accuracy, loss)."""
    model.eval()
    with torch.no_grad():
        outputs = torch.cat([model(inputs) for inputs in data.test[0].split(100)])
        loss = nn.functional.cross_entropy(outputs, data.test[1])
    return float((outputs.argmax(1) == data.test[1]).float().mean()), float(loss)


if __name__ == "__main__":
    print(markdown(contests()))
