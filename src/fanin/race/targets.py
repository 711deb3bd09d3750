"""The score that "steps to the target" is about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil, floor, log10
from statistics import median_high, median_low

from fanin.errors import ArgumentError
from fanin.race.constant import Level
from fanin.race.objective import Objective
from fanin.race.result import TargetRule
from fanin.race.run import Run
from fanin.race.standing import final
from fanin.race.words import level_text

_SHARE = 0.95
_DUST = 1e-6  # of rounding


def check_target(given: float | None, objective: Objective) -> None:
    """Refuse what no score can reach; errors have no such bound.

    Raises:
        ArgumentError: an accuracy above 1.
    """
    if given is None or not objective.higher_is_better or given <= 1:
        return
    meant = f"; did you mean {given / 100:g}?" if given <= 100 else ", where 0.9 is 90%"  # percent
    raise ArgumentError(f"target must be an {objective.score_name} from 0 to 1, got {given:g}{meant}")


def resolved_target(
    given: float | None,
    usual: float | None,
    runs: Mapping[str, Sequence[Run]],
    objective: Objective,
    level: Level,
) -> tuple[float, TargetRule, str | None]:
    """The target, where it comes from, and a note where that needs one.

    Given explicitly, it stays. The data set's usual one is taken if a start reaches it in most of its runs. Else the
    runs tell: of the starts whose median final run learned anything, the score that the median one's median run ends
    at (of an even number, the worse of the middle two); the target is 95 % of the way there from what a constant
    reaches, rounded to the easier side. So at least half of those starts reach it with half of their runs or more.
    """
    if given is not None:
        return given, "given", None
    if usual is not None and any(_mostly(each, usual, objective) for each in runs.values()):
        return usual, "data", None
    # Of two in the middle the worse one: the low one where more is better.
    middle = median_low if objective.higher_is_better else median_high
    finals = [middle(final(run, level) for run in each) for each in runs.values()]
    learned = [score for score in finals if not level.stuck(score, objective)]
    if learned:
        target = _easier(level.score + _SHARE * (middle(learned) - level.score), objective)
    else:
        target = level.score + (level.margin if objective.higher_is_better else -level.margin)
    told = None
    if usual is not None:
        told = f"no start mostly reaches the data set's target of {level_text(usual, objective)}: the runs tell another"
    return target, "runs", told


def _mostly(runs: Sequence[Run], target: float, objective: Objective) -> bool:
    """Whether the median run reaches the target."""
    return 2 * sum(run.steps_to(target, objective) is not None for run in runs) > len(runs)


def _easier(score: float, objective: Objective) -> float:
    """Three digits, rounded so that the score itself reaches it."""
    if objective.higher_is_better:
        return floor(score * 1000 + _DUST) / 1000
    step = 10.0 ** (floor(log10(score)) - 2) if score > 0 else 1.0
    return float(f"{ceil(score / step - _DUST) * step:.6g}")
