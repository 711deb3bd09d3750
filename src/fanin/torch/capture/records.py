"""What a constructor did to memory: calls, and the states of storages they led to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeGuard

import torch

from fanin.initializers import Initializer
from fanin.torch.capture.geometry import Geometry


@dataclass(frozen=True, slots=True)
class Site:
    """Who made a call: the owner function and its line, and the initialization function that it called."""

    owner: str
    line: str
    call: str

    @property
    def why(self) -> str:
        """One line for a person, as `Linear.reset_parameters: kaiming_uniform_(a=√5)`."""
        return f"{self.owner}: {self.call}" if self.owner else self.call


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One operator call. Tensor arguments are `View`s, also inside lists.

    Attributes:
        order: number of the call in the order of execution.
        args, kwargs: its arguments; a tensor that the call writes stands as a `Target`.
    """

    order: int
    op: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    site: Site

    @property
    def name(self) -> str:
        """Operator without namespace and overload, as `normal_`."""
        return self.op._schema.name.removeprefix("aten::")

    @property
    def random(self) -> bool:
        """Whether the operator draws random numbers."""
        return torch.Tag.nondeterministic_seeded in self.op.tags

    def views(self) -> Iterator[View]:
        """Every tensor that the call reads; those it writes only where they are several (each needs the others)."""
        given = (*self.args, *self.kwargs.values())
        yield from _views(given)
        written = [argument for argument in given if isinstance(argument, Target)]
        yield from (target.before for target in written if len(written) > 1)

    def argument(self, name: str, default: Any = None) -> Any:
        """The argument of this name, given, or by the operator's own default."""
        for position, declared in enumerate(self.op._schema.arguments):
            if declared.name == name:
                given = self.args[position] if position < len(self.args) else self.kwargs.get(name)
                return given if given is not None else declared.default_value
        return default


@dataclass(frozen=True, slots=True, eq=False)
class Memory:
    """One storage: its size in elements of `dtype`."""

    numel: int
    dtype: torch.dtype


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """A tensor that a call writes."""

    memory: Memory
    geometry: Geometry
    state: State

    @property
    def before(self) -> View:
        """The tensor as the call found it."""
        return View(self.state, self.geometry)


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """The memory of a call's result, as the call left it."""

    memory: Memory
    call: Call
    output: int
    geometry: Geometry


@dataclass(frozen=True, slots=True, eq=False)
class Written:
    """Memory after an in-place call on the view `geometry`.

    `before` is None where the call overwrote all of it. `law` is what a rejection loop makes of the call's draws.
    """

    memory: Memory
    before: State | None
    call: Call
    geometry: Geometry
    law: Initializer | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """Memory whose values existed before, or were computed for real: `values` is its one-dimensional tensor."""

    memory: Memory
    values: torch.Tensor


State = Made | Written | Given


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A tensor at one moment: the state of its memory and where in it the tensor lies."""

    state: State
    geometry: Geometry

    @property
    def covers_memory(self) -> bool:
        """Whether each element of the memory is this view's, once."""
        return covers(self.geometry, self.state.memory)


def draws(state: State) -> bool:
    """Whether the last call on this memory drew random numbers."""
    return not isinstance(state, Given) and (
        state.call.random or (isinstance(state, Written) and state.law is not None)
    )


def covers(geometry: Geometry, memory: Memory) -> bool:
    """Whether each element of the memory belongs to the view, once."""
    return geometry.numel == memory.numel and geometry.dtype == memory.dtype and geometry.dense


def same(view: View, other: View) -> bool:
    """Whether two views are the same tensor at the same moment."""
    return view.state is other.state and view.geometry == other.geometry


def made_by(value: Any, *names: str) -> TypeGuard[View]:
    """Whether `value` is a whole result of one of these operators."""
    return (
        isinstance(value, View)
        and isinstance(value.state, Made)
        and value.state.call.name in names
        and value.geometry == value.state.geometry
    )


def call_of(view: View) -> Call | None:
    """The call that left the view's memory in this state."""
    return None if isinstance(view.state, Given) else view.state.call


def history(state: State) -> list[State]:
    """The states that this one was built on, from the oldest, itself last."""
    states: list[State] = [state]
    while isinstance(state, Written) and state.before is not None:
        state = state.before
        states.append(state)
    return states[::-1]


def _views(values: tuple[Any, ...]) -> Iterator[View]:
    for value in values:
        if isinstance(value, View):
            yield value
        elif isinstance(value, (tuple, list)):
            yield from _views(tuple(value))
