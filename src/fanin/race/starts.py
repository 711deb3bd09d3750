"""What races: ways to give a fresh model its first values."""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fanin.data_driven import lsuv
from fanin.errors import ArgumentError
from fanin.race.course import Course
from fanin.recipes import Recipe
from fanin.recipes.registry import named
from fanin.torch.capture import Captured, capture
from fanin.torch.materialize import materialize
from fanin.torch.planning import plan

Factory = Callable[[], nn.Module]
Seeded = Callable[[int], nn.Module]
InPlace = Callable[[nn.Module, int, Tensor], Any]
Racer = "str | Recipe | Start | InPlace"
BATCH = 256


class Ground:
    """What starts are prepared on: the model's factory and the course."""

    def __init__(self, factory: Factory, course: Course) -> None:
        self.factory = factory
        self.course = course
        # Constructors and users' functions may draw from the global random state: one at a time.
        self.lock = Lock()

    @cached_property
    def captured(self) -> Captured:
        """The model's own laws; nothing is allocated."""
        return capture(self.factory)

    def batch(self, seed: int) -> Tensor:
        """Inputs of up to 256 training samples, drawn without replacement from the seed."""
        inputs = self.course.train[0]
        chosen = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(seed))[:BATCH]
        return inputs[chosen.to(inputs.device)]


@dataclass(frozen=True, slots=True)
class Start:
    """One way to start.

    Attributes:
        name: in tables.
        prepare: does once what does not depend on the seed, and returns the function from a seed to a model with its
            first values.

    >>> from torch import eye
    >>> from fanin.race.course import course
    >>> data = eye(4), eye(4).argmax(1)
    >>> build = start("he").prepare(Ground(lambda: nn.Linear(4, 4), course((data, data))))
    >>> torch.equal(build(3).weight, build(3).weight), torch.equal(build(3).weight, build(4).weight)
    (True, False)
    """

    name: str
    prepare: Callable[[Ground], Seeded]


def start(racer: Any, name: str = "") -> Start:
    """The start that is meant by a recipe's name, "lsuv", a `Recipe`, a `Start`, or a function.

    Args:
        racer: a function is called as (model, seed, inputs [n, …]) and gives the model its values in place; before it,
            the global random states of torch, NumPy and Python are seeded, and afterwards they are as they were.
        name: in place of its own.

    Raises:
        ArgumentError: something else, or a function without a name.
        UnknownNameError: no recipe of that name.

    >>> start("lsuv").name, start(nn.init.orthogonal_, "mine").name
    ('lsuv', 'mine')
    """
    if isinstance(racer, Start):
        return Start(name or racer.name, racer.prepare)
    if isinstance(racer, str):
        return Start(name or racer, _data_driven if racer == "lsuv" else _planned(named(racer)))
    if isinstance(racer, Recipe):
        return Start(name or racer.name, _planned(racer))
    if not callable(racer):
        raise ArgumentError(f"a start is a recipe, its name, 'lsuv' or a function, got {type(racer).__name__}")
    own = name or getattr(racer, "__name__", "<lambda>")
    if own == "<lambda>":
        raise ArgumentError("a start needs a name: give a mapping, as in recipes={'mine': function, 'he': 'he'}")
    return Start(own, _in_place(racer))


def starts(racers: Iterable[Any] | Mapping[str, Any]) -> tuple[Start, ...]:
    """All that race, from a sequence or from a mapping from names.

    Raises:
        ArgumentError: none, or two of one name; and as `start`.
        UnknownNameError: no recipe of that name.
    """
    if isinstance(racers, str):
        raise ArgumentError(f"recipes is a list or a mapping, got the text {racers!r}: write [{racers!r}]")
    if isinstance(racers, Mapping):
        made = [start(racer, name) for name, racer in racers.items()]
    else:
        made = [start(racer) for racer in racers]
    names = [each.name for each in made]
    if not names or len(set(names)) != len(names):
        raise ArgumentError(f"a race needs one or more different recipes, got {names}")
    return tuple(made)


def _planned(recipe: Recipe) -> Callable[[Ground], Seeded]:
    def prepare(ground: Ground) -> Seeded:
        laws = plan(ground.captured, recipe, inputs=ground.course.train[0][:2])

        def build(seed: int) -> nn.Module:
            with ground.lock:
                return materialize(ground.factory(), laws, seed=seed)

        return build

    return prepare


def _data_driven(ground: Ground) -> Seeded:
    def build(seed: int) -> nn.Module:
        with ground.lock:
            model = ground.factory()
            lsuv(model, ground.batch(seed), seed=seed)
            return model

    return build


def _in_place(function: InPlace) -> Callable[[Ground], Seeded]:
    def prepare(ground: Ground) -> Seeded:
        def build(seed: int) -> nn.Module:
            with ground.lock, seeded(seed):
                model = ground.factory()
                function(model, seed, ground.batch(seed))
                return model

        return build

    return prepare


@contextmanager
def seeded(seed: int) -> Generator[None]:
    """The global random states seeded, and as they were afterwards."""
    states = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        try:
            torch.manual_seed(seed)
            random.seed(seed)
            np.random.seed(seed % 2**32)
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])
