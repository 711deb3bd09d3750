"""What tests of several file formats share."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

Mutants = Callable[..., Iterator[None]]


@pytest.fixture
def mutants() -> Mutants:
    """mutants(path, whole, times=400, end=None): the file, time and again with one to three other bytes.

    Always the same ones; each is there while the body of the loop runs. `end`: only bytes before it change.
    """
    return _mutants


def _mutants(path: Path, whole: bytes, times: int = 400, end: int | None = None) -> Iterator[None]:
    rng = random.Random(0)
    for _ in range(times):
        damaged = bytearray(whole)
        for _ in range(rng.randint(1, 3)):
            damaged[rng.randrange(end or len(whole))] = rng.randrange(256)
        path.write_bytes(damaged)
        yield


@pytest.fixture
def read_mutants(mutants: Mutants) -> Callable[[Path, bytes], int]:
    """read_mutants(path, whole): how many tensors of all mutants can be read; what cannot is refused by fanin."""
    from fanin import FaninError
    from fanin.weights import read_weights

    def read(path: Path, whole: bytes) -> int:
        found = 0
        for _ in mutants(path, whole):
            with suppress(FaninError):
                file = read_weights(path)
                found += sum(file[name].data.size >= 0 for name in file)
        return found

    return read
