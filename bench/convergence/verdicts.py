"""Where `auto` starts better or worse than the others, by paired tests over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from convergence.racing import Raced
from convergence.starts import AUTO, DEFAULT
from fanin.race import Comparison

LEVEL = 0.05
WANTED = 5


@dataclass(frozen=True, slots=True)
class Verdict:
    """`auto` against one start on one task.

    Attributes:
        task: its name.
        deep: it is deep and has no normalisation.
        against: the other start.
        p: of the exact two-sided signed-rank test, not corrected: each is one comparison that was planned.
        better: +1 where `auto` is better (whether significantly or not), −1 where it is worse, 0 where neither.
        wins, losses: seeds on which it is.
        measure: "steps" to the target, or the final "score" where neither start reaches it on any seed.
        end: the same on the final score: "better", "worse" or "even" …
        end_p: … and its p.
    """

    task: str
    deep: bool
    against: str
    p: float
    better: int
    wins: int
    losses: int
    measure: str
    end: str = "even"
    end_p: float = 1.0

    @property
    def said(self) -> str:
        """ "better", "worse" or "even"; the first two only where p is below 0.05."""
        return _word(self.p, self.better)


def verdicts(raced: Raced) -> tuple[Verdict, ...]:
    """`auto` against every other start of the task."""
    others = [start for start in raced.result.starts if start != AUTO]
    return tuple(_verdict(raced, other) for other in others)


def reached(every: Sequence[Verdict]) -> bool:
    """Against torch's default never worse, better on five tasks or more and on every deep one."""
    found = [each for each in every if each.against == DEFAULT]
    better = [each for each in found if each.said == "better"]
    deep = all(each.said == "better" for each in found if each.deep)
    return len(better) >= WANTED and deep and not any(each.said == "worse" for each in found)


def _verdict(raced: Raced, other: str) -> Verdict:
    found = {each.measure: each for each in raced.result.comparisons if {each.better, each.worse} == {AUTO, other}}
    rows = {row.start: row for row in raced.result.standings}
    measure = "steps" if rows[AUTO].reached or rows[other].reached else "score"
    each, end = found[measure], found["score"]
    wins, losses = (each.wins, each.losses) if each.better == AUTO else (each.losses, each.wins)
    task, said = raced.task, _word(end.p, _sign(end))
    return Verdict(task.name, task.deep, other, each.p, _sign(each), wins, losses, measure, said, end.p)


def _sign(each: Comparison) -> int:
    return 0 if not each.effect else 1 if each.better == AUTO else -1


def _word(p: float, better: int) -> str:
    if p >= LEVEL or not better:
        return "even"
    return "better" if better > 0 else "worse"
