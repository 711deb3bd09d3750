"""Every initializer × dtype × size, beside torch.nn.init, NumPy, JAX and beside writing zeros, in one run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from math import prod

import rivals
import torch
from rows import best_seconds, table

from fanin.initializers import (
    Constant,
    DeltaOrthogonal,
    Dirac,
    Identity,
    Initializer,
    Normal,
    Orthogonal,
    RowNormalized,
    Sparse,
    TruncatedNormal,
    Uniform,
)
from fanin.random import Region, Stream, default_threads
from fanin.torch.fill import as_array

DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
LARGE = (8192, 8192)
ELEMENTWISE: tuple[Initializer, ...] = (Constant(0.5), Uniform(-1.0, 1.0), Normal(std=0.02), TruncatedNormal(std=0.02))
SIZES = ((8, 8), (64, 64), (1024, 1024), LARGE)
MATRICES: tuple[tuple[Initializer, tuple[tuple[int, ...], ...]], ...] = (
    (Orthogonal(), ((64, 64), (512, 512), (4096, 4096))),
    (Sparse(0.9), ((64, 64), (1024, 1024))),
    (RowNormalized(), ((64, 64), (4096, 4096))),
    (DeltaOrthogonal(), ((64, 64, 3, 3), (512, 512, 3, 3))),
    (Dirac(), ((64, 64, 3, 3), (512, 512, 3, 3))),
    (Identity(), ((64, 64), (4096, 4096))),
)
WANTED = {"Uniform": 0.6, "Normal": 0.3, "TruncatedNormal": 0.3}
"""Of zero-fill, for large float32 tensors."""


@dataclass(frozen=True, slots=True)
class Contest:
    """Billions of elements a second: ours, zeros into the same memory, and the rivals that have this law."""

    law: str
    dtype: str
    shape: tuple[int, ...]
    ours: float
    zeros: float
    rivals: dict[str, float]

    @property
    def of_zeros(self) -> float:
        return self.ours / self.zeros

    @property
    def wanted(self) -> float | None:
        return WANTED.get(self.law) if self.dtype == "float32" and self.shape == LARGE else None

    @property
    def reached(self) -> bool:
        return self.wanted is None or self.of_zeros >= self.wanted


def contests(rounds: int = 8, threads: int | None = None) -> list[Contest]:
    """All of them, measured now."""
    count = threads or default_threads()
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        return [_measured(law, dtype, shape, rounds, count) for law, dtype, shape in _cases()]
    finally:
        torch.set_num_threads(before)


def _cases() -> Iterator[tuple[Initializer, torch.dtype, tuple[int, ...]]]:
    for law in ELEMENTWISE:
        yield from ((law, dtype, shape) for dtype in DTYPES for shape in SIZES)
    for law, shapes in MATRICES:
        yield from ((law, dtype, shape) for dtype in (torch.float32, torch.bfloat16) for shape in shapes)


def _measured(law: Initializer, dtype: torch.dtype, shape: tuple[int, ...], rounds: int, threads: int) -> Contest:
    tensor, name = torch.zeros(shape, dtype=dtype), type(law).__name__
    ours = partial(law.fill, as_array(tensor), Stream.named(0, "bench"), Region.whole(shape), threads=threads)
    others = {
        "torch.nn.init": rivals.of_torch(name, tensor),
        "NumPy": rivals.of_numpy(name, shape, dtype),
        "JAX": rivals.of_jax(name, shape, dtype),
    }
    known = {rival: action for rival, action in others.items() if action is not None}
    slow = prod(shape) > 1 << 24 and name in ("TruncatedNormal", "Orthogonal")  # torch and JAX need seconds for them
    own, zeros, *theirs = _speeds([ours, tensor.zero_, *known.values()], prod(shape), 2 if slow else rounds)
    return Contest(name, str(dtype).removeprefix("torch."), shape, own, zeros, dict(zip(known, theirs, strict=True)))


def _speeds(actions: list[Callable[[], object]], elements: int, rounds: int) -> list[float]:
    calls = max(1, min(200, (1 << 18) // elements))
    repeated = [partial(_repeat, action, calls) for action in actions]
    return [calls * elements / seconds / 1e9 for seconds in best_seconds(repeated, rounds)]


def _repeat(action: Callable[[], object], calls: int) -> None:
    for _ in range(calls):
        action()


def markdown(found: list[Contest]) -> str:
    """One line a contest; rivals as how many times faster we are."""
    names = ["torch.nn.init", "NumPy", "JAX"]
    head = ["initializer", "dtype", "shape", "fanin", "of zero-fill", "wanted", *(f"× {name}" for name in names)]
    lines = [
        [
            each.law,
            each.dtype,
            "×".join(map(str, each.shape)),
            f"{each.ours:.3g} G/s",
            f"{each.of_zeros:.2f}",
            "" if each.wanted is None else f"≥ {each.wanted:g}{'' if each.reached else ' **missed**'}",
            *(f"{each.ours / each.rivals[name]:.1f}" if name in each.rivals else "" for name in names),
        ]
        for each in found
    ]
    return table(head, lines)
