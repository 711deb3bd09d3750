"""How fast tensors are filled, beside torch.nn.init and beside writing zeros, in one run.

    python bench/fill_throughput.py [elements] [threads] [rounds]

The contestants take turns, so that a noisy machine disturbs them alike; each keeps its best time.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from time import perf_counter

import torch

from fanin.random import Region, Stream, default_threads, normal, truncated_normal, uniform, words


@dataclass(frozen=True, slots=True)
class Row:
    """One fill: its speed in 10⁹ elements a second, torch's (if torch has it), the target ratio, zero-fill's speed."""

    name: str
    speed: float
    torch_speed: float | None
    target: float | None
    zero_speed: float

    @property
    def ratio(self) -> float | None:
        return self.speed / self.torch_speed if self.torch_speed else None

    @property
    def of_zero_fill(self) -> float:
        return self.speed / self.zero_speed


@dataclass(frozen=True, slots=True)
class Contest:
    """Ours against torch's on the same storage."""

    name: str
    ours: Callable[[], object]
    torchs: Callable[[], object] | None
    zero: Callable[[], object]
    target: float | None = None
    slower_torch: int = 1
    """Torch fills one in so many elements of the storage, because it would take too long."""


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
    slow = 64
    contests: list[Contest] = []

    def add(name, fill, numbers, dtype, torchs, target=None, slower_torch=1) -> None:
        tensor = torch.zeros(elements, dtype=dtype)
        storage = tensor.view(torch.uint16) if dtype == torch.bfloat16 else tensor
        ours = partial(fill, storage.numpy(), stream, region, *numbers, threads=threads)
        theirs = partial(torchs, tensor[: elements // slower_torch]) if torchs else None
        contests.append(Contest(name, ours, theirs, tensor.zero_, target, slower_torch))

    init = torch.nn.init
    add("uniform float32", uniform, (-1.0, 1.0), torch.float32, partial(init.uniform_, a=-1.0, b=1.0), 5.0)
    add("normal float32", normal, (0.0, 0.02), torch.float32, partial(init.normal_, std=0.02), 4.5)
    cut = partial(init.trunc_normal_, std=1.0, a=-2.0, b=2.0)
    add("truncated normal float32", truncated_normal, (0.0, 1.0, -2.0, 2.0), torch.float32, cut, 50.0, slow)
    add("normal bfloat16", normal, (0.0, 0.02), torch.bfloat16, partial(init.normal_, std=0.02), 4.0)
    add("normal float16", normal, (0.0, 0.02), torch.float16, partial(init.normal_, std=0.02))
    add("uniform bfloat16", uniform, (-1.0, 1.0), torch.bfloat16, partial(init.uniform_, a=-1.0, b=1.0))
    add("truncated normal bfloat16", truncated_normal, (0.0, 1.0, -2.0, 2.0), torch.bfloat16, None)
    add("uniform float64", uniform, (-1.0, 1.0), torch.float64, partial(init.uniform_, a=-1.0, b=1.0))
    add("normal float64", normal, (0.0, 0.02), torch.float64, partial(init.normal_, std=0.02))
    add("truncated normal float64", truncated_normal, (0.0, 1.0, -2.0, 2.0), torch.float64, cut, None, slow)
    add("words uint32", words, (), torch.uint32, None)
    return contests


def _measured(contest: Contest, elements: int, rounds: int) -> Row:
    actions = [contest.ours, contest.zero] + ([contest.torchs] if contest.torchs else [])
    best = [float("inf")] * len(actions)
    for _ in range(rounds + 1):
        for place, action in enumerate(actions):
            start = perf_counter()
            action()
            best[place] = min(best[place], perf_counter() - start)
    speeds = [elements / seconds / 1e9 for seconds in best]
    torch_speed = speeds[2] / contest.slower_torch if contest.torchs else None
    return Row(contest.name, speeds[0], torch_speed, contest.target, speeds[1])


def table(measured: list[Row]) -> str:
    """The rows as Markdown."""
    lines = ["| fill | G/s | torch G/s | ratio | wanted | of zero-fill |", "|---|---:|---:|---:|---:|---:|"]
    for row in measured:
        torchs = f"{row.torch_speed:.3f}" if row.torch_speed else "–"
        ratio = f"{row.ratio:.1f}×" if row.ratio else "–"
        target = f"≥ {row.target:g}×" if row.target else ""
        lines.append(f"| {row.name} | {row.speed:.3f} | {torchs} | {ratio} | {target} | {row.of_zero_fill:.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    arguments = [int(text) for text in sys.argv[1:]]
    print(table(rows(*arguments)))
