"""One measured figure beside what it is measured against, and tables of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from time import perf_counter, sleep

_SETTLE = 0.01  # seconds for which idle threads of a library may still spin on a core


@dataclass(frozen=True, slots=True)
class Row:
    """A figure of ours, the other side's from the same run, and what the ratio (or our figure) must reach.

    `faster` is how many times faster we are; `target` is what it must reach, `limit` what `ours` must stay below.
    """

    name: str
    ours: float
    theirs: float | None
    unit: str
    target: float | None = None
    limit: float | None = None
    of_zero_fill: float | None = None

    @property
    def faster(self) -> float | None:
        if self.theirs is None:
            return None
        return self.ours / self.theirs if self.unit.endswith("/s") else self.theirs / self.ours

    @property
    def reached(self) -> bool:
        enough = self.target is None or (self.faster or 0) >= self.target
        return enough and (self.limit is None or self.ours < self.limit)

    def cells(self) -> list[str]:
        wanted = f"≥ {self.target:g}×" if self.target else f"< {self.limit:g} {self.unit}" if self.limit else ""
        return [
            self.name,
            f"{self.ours:.3g} {self.unit}",
            "" if self.theirs is None else f"{self.theirs:.3g} {self.unit}",
            "" if self.faster is None else f"{self.faster:.1f}×",
            wanted + ("" if self.reached else " **missed**"),
            "" if self.of_zero_fill is None else f"{self.of_zero_fill:.2f}",
        ]


HEADER = ["what", "fanin", "the other side", "times faster", "wanted", "of zero-fill"]


def markdown(rows: Iterable[Row]) -> str:
    """The rows as a Markdown table."""
    return table(HEADER, [row.cells() for row in rows])


def table(head: list[str], lines: Iterable[list[str]]) -> str:
    """A Markdown table, numbers to the right."""
    every = [head, ["---", *["---:"] * (len(head) - 1)], *lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in every)


def best_seconds(actions: list[Callable[[], object]], rounds: int) -> list[float]:
    """The best time of each action. They take turns, so that a noisy machine disturbs them alike; one turn warms up."""
    best = [float("inf")] * len(actions)
    for turn in range(rounds + 1):
        for place, action in enumerate(actions):
            sleep(_SETTLE)
            start = perf_counter()
            result = action()
            if turn:
                best[place] = min(best[place], perf_counter() - start)
            del result  # freed before the next one's time runs
    return best
