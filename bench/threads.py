"""Filling with 1 … N threads, against one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from fill import ELEMENTWISE, LARGE
from rows import best_seconds, table

from fanin.initializers import Constant, Initializer
from fanin.random import Region, Stream, default_threads
from fanin.torch.fill import as_array


@dataclass(frozen=True, slots=True)
class Scaling:
    """Billions of elements a second with 1, 2, … threads."""

    law: str
    dtype: str
    speeds: tuple[float, ...]


def scalings(rounds: int = 5) -> list[Scaling]:
    """Every random law in float32 and bfloat16, 64M elements, measured now."""
    laws = [law for law in ELEMENTWISE if not isinstance(law, Constant)]
    return [_scaling(law, dtype, rounds) for law in laws for dtype in (torch.float32, torch.bfloat16)]


def _scaling(law: Initializer, dtype: torch.dtype, rounds: int) -> Scaling:
    tensor = torch.zeros(LARGE, dtype=dtype)
    fill = partial(law.fill, as_array(tensor), Stream.named(0, "bench"), Region.whole(LARGE))
    seconds = best_seconds([partial(fill, threads=count) for count in _counts()], rounds)
    speeds = tuple(tensor.numel() / each / 1e9 for each in seconds)
    return Scaling(type(law).__name__, str(dtype).removeprefix("torch."), speeds)


def _counts() -> list[int]:
    most = default_threads()
    return [*[count for count in (1, 2, 4, 8, 16, 32, 64, 128) if count < most], most]


def markdown(found: list[Scaling]) -> str:
    """One line a law; each thread count with its speed-up over one."""
    head = ["initializer", "dtype", *(f"{count} thread{'s' if count > 1 else ''}" for count in _counts())]
    lines = [
        [each.law, each.dtype, *(f"{speed:.2f} G/s ({speed / each.speeds[0]:.2f}×)" for speed in each.speeds)]
        for each in found
    ]
    return table(head, lines)
