"""Chance in recorded histories: what a state depends on, and one draw of it for constructors that ask for values."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch.utils._python_dispatch import _disable_current_modes  # pyright: ignore[reportPrivateUsage]

from fanin.errors import FaninError
from fanin.random import Stream
from fanin.torch.capture.programs import NotReplayableError, Stand, Writer
from fanin.torch.capture.records import Given, State, View, Written, draws
from fanin.torch.capture.rewrites import draws_alone
from fanin.torch.fill import fill
from fanin.torch.replay import Draws, Sources, run

_LIMIT = 1 << 26


@dataclass(slots=True)
class Sampler:
    """One draw of all random calls of a constructor, for as long as it runs: the same call always has the same values.

    Attributes:
        number: which draw; another number gives other values.
        questions: what the constructor asked that only chance could answer, in order.
        asked: the orders of the random calls that these answers depend on.
    """

    number: int
    questions: list[str] = field(default_factory=list)
    asked: set[int] = field(default_factory=set)

    def of(self, view: View) -> torch.Tensor:
        """The values of `view` in this draw.

        Raises:
            NotReplayableError: it needs memory without values.
        """
        writer = Writer({order: Stand(stream=str(order)) for order in chances(view.state)}, inline=False)
        program = writer.program(view)
        sources = Sources(lambda name: writer.given[int(name)], self._drawn, partial(self._operator, writer))
        with _disable_current_modes():
            try:
                return run(program, sources, limit=_LIMIT)
            except FaninError as error:
                raise NotReplayableError(str(error)) from error

    def _operator(self, writer: Writer, name: str) -> Any:
        """The operator; one that draws does so with torch's generator, from a seed of its own."""
        _, drawn, order = name.partition(" of call ")
        found = writer.operator(name)
        return Seeded(found, self.number << 32 | int(order)) if drawn else found

    def _drawn(self, draws: Draws) -> torch.Tensor:
        values = torch.empty(draws.shape, dtype=draws.dtype, device="cpu")
        fill(values, draws.law, Stream.named(self.number, f"asked of call {draws.stream}"))
        return values


@dataclass(frozen=True, slots=True)
class Seeded:
    """A random operator that draws from a seed of its own."""

    op: Any
    seed: int

    @property
    def _schema(self) -> Any:
        return self.op._schema

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return self.op(*args, **kwargs)


def chances(state: State) -> frozenset[int]:
    """The orders of all random calls that a state depends on."""
    seen: set[int] = set()
    orders: set[int] = set()
    waiting = [state]
    while waiting:
        now = waiting.pop()
        if id(now) in seen:
            continue
        seen.add(id(now))
        if not isinstance(now, Given) and draws(now):
            orders.add(now.call.order)
        waiting.extend(_behind(now))
    return frozenset(orders)


def _behind(state: State) -> list[State]:
    if isinstance(state, Given):
        return []
    before = [state.before] if isinstance(state, Written) and state.before is not None else []
    return before if draws_alone(state) else [*before, *(view.state for view in state.call.views())]
