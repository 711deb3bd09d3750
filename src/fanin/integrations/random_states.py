"""Random states, kept over a block that draws from them."""

from __future__ import annotations

import random
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from types import FunctionType, ModuleType
from typing import Any, cast

import numpy as np
import torch


@contextmanager
def random_states_kept() -> Generator[None]:
    """Python's, NumPy's and torch's random states, on every device in use, are afterwards as before."""
    python, legacy, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)
        torch.set_rng_state(cpu)
        if cuda:
            torch.cuda.set_rng_state_all(cuda)


@contextmanager
def generators_kept(*owners: object) -> Generator[None]:
    """The same for random generators that are attributes of these objects, or of what they wrap."""
    states = [(each, _state(each)) for each in _generators(owners)]
    try:
        yield
    finally:
        for generator, state in states:
            _restore(generator, state)


def _generators(owners: Sequence[object]) -> Iterator[Any]:
    """Subsets, concatenations and transforms hold one another as attributes, or in lists of them."""
    seen: set[int] = set()
    left = list(owners)
    while left:
        thing = left.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, _KINDS):
            yield thing
        elif isinstance(thing, list | tuple) and len(cast("Sequence[object]", thing)) <= _PARTS:
            left.extend(cast("Sequence[object]", thing))
        elif not isinstance(thing, type | ModuleType | FunctionType | torch.Tensor):
            left.extend(getattr(thing, "__dict__", {}).values())


_PARTS = 64  # longer lists hold data
_KINDS = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)


def _state(generator: Any) -> Any:
    match generator:
        case torch.Generator():
            return generator.get_state()
        case np.random.Generator():
            return generator.bit_generator.state
        case np.random.RandomState():
            return generator.get_state()
        case _:
            return generator.getstate()


def _restore(generator: Any, state: Any) -> None:
    match generator:
        case torch.Generator() | np.random.RandomState():
            generator.set_state(state)
        case np.random.Generator():
            generator.bit_generator.state = state
        case _:
            generator.setstate(state)
