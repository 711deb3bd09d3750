"""How fast tensors are filled, beside torch.nn.init and beside writing zeros, in one run.

    python bench/fill_throughput.py [elements] [threads] [rounds]

The contestants take turns, so that a noisy machine disturbs them alike; each keeps its best time.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from rows import Row, best_seconds, markdown

from fanin.random import Region, Stream, default_threads, normal, truncated_normal, uniform, words


@dataclass(frozen=True, slots=True)
class Contest:
    """Ours against torch's on the same storage."""

    name: str
    ours: Callable[[], object]
    torchs: Callable[[], object] | None
    zero: Callable[[], object]
    target: float | None = None


def rows(elements: int = 1 << 26, threads: int | None = None, rounds: int = 5) -> list[Row]:
    """The table, measured now."""
    count = threads or default_threads()
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        return [_measured(contest, elements, rounds) for contest in _contests(elements, count)]
    finally:
        torch.set_num_threads(before)


def _contests(elements: int, threads: int) -> list[Contest]:
    stream, region = Stream.named(0, "bench"), Region.whole((elements,))
    contests: list[Contest] = []

    def add(name, fill, numbers, dtype, torchs, target=None) -> None:
        tensor = torch.zeros(elements, dtype=dtype)
        storage = tensor.view(torch.uint16) if dtype == torch.bfloat16 else tensor
        ours = partial(fill, storage.numpy(), stream, region, *numbers, threads=threads)
        theirs = partial(torchs, tensor) if torchs else None
        contests.append(Contest(name, ours, theirs, tensor.zero_, target))

    init = torch.nn.init
    add("uniform float32", uniform, (-1.0, 1.0), torch.float32, partial(init.uniform_, a=-1.0, b=1.0), 5.0)
    add("normal float32", normal, (0.0, 0.02), torch.float32, partial(init.normal_, std=0.02), 4.5)
    cut = partial(init.trunc_normal_, std=1.0, a=-2.0, b=2.0)
    add("truncated normal float32", truncated_normal, (0.0, 1.0, -2.0, 2.0), torch.float32, cut, 50.0)
    add("normal bfloat16", normal, (0.0, 0.02), torch.bfloat16, partial(init.normal_, std=0.02), 4.0)
    add("normal float16", normal, (0.0, 0.02), torch.float16, partial(init.normal_, std=0.02))
    add("uniform bfloat16", uniform, (-1.0, 1.0), torch.bfloat16, partial(init.uniform_, a=-1.0, b=1.0))
    add("truncated normal bfloat16", truncated_normal, (0.0, 1.0, -2.0, 2.0), torch.bfloat16, None)
    add("uniform float64", uniform, (-1.0, 1.0), torch.float64, partial(init.uniform_, a=-1.0, b=1.0))
    add("normal float64", normal, (0.0, 0.02), torch.float64, partial(init.normal_, std=0.02))
    add("truncated normal float64", truncated_normal, (0.0, 1.0, -2.0, 2.0), torch.float64, cut)
    add("words uint32", words, (), torch.uint32, None)
    return contests


def _measured(contest: Contest, elements: int, rounds: int) -> Row:
    actions = [contest.ours, contest.zero] + ([contest.torchs] if contest.torchs else [])
    turns = 1 if "truncated" in contest.name else rounds  # torch needs seconds for it
    ours, zero, *theirs = (elements / seconds / 1e9 for seconds in best_seconds(actions, turns))
    return Row(contest.name, ours, next(iter(theirs), None), "G/s", contest.target, of_zero_fill=ours / zero)


if __name__ == "__main__":
    arguments = [int(text) for text in sys.argv[1:]]
    print(markdown(rows(*arguments)))
