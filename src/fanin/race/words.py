"""What a race found, in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fanin.race.comparing import LEVEL, Comparison
from fanin.race.objective import Objective
from fanin.race.standing import Standing


def level_text(score: float, objective: Objective) -> str:
    """A score as a person reads it.

    >>> from fanin.race.objective import OBJECTIVES
    >>> level_text(0.9, OBJECTIVES["classification"]), level_text(0.25, OBJECTIVES["regression"])
    ('90% accuracy', 'RMSE 0.25')
    """
    text = score_text(score, objective)
    return f"{text} {objective.score_name}" if objective.higher_is_better else f"{objective.score_name} {text}"


def score_text(score: float, objective: Objective) -> str:
    """The bare number: percent, or three digits."""
    return f"{100 * score:.3g}%" if objective.higher_is_better else f"{score:.3g}"


def verdicts(
    found: Sequence[Comparison], standings: Mapping[str, Standing], target: float, objective: Objective
) -> tuple[str, ...]:
    """One sentence for each pair: by steps to the target, or by the final score where neither reaches it."""
    by_pair = {frozenset((each.better, each.worse)): each for each in found if each.measure == "score"}
    sentences: list[str] = []
    for each in found:
        if each.measure == "steps":
            ends = by_pair[frozenset((each.better, each.worse))]
            rows = standings[each.better], standings[each.worse]
            if not any(row.reached for row in rows):
                sentences.append(_by_score(ends, standings, target, objective))
            else:
                sentences.append(_by_steps(each, rows, level_text(target, objective)))
    return tuple(sentences)


def _by_steps(found: Comparison, rows: tuple[Standing, Standing], level: str) -> str:
    better, worse = rows
    ratio = ""
    if better.steps_to_target is not None and worse.steps_to_target:
        ratio = f"{better.steps_to_target / worse.steps_to_target:.2g}×"
    if not found.significant:
        shown = f"{ratio} the steps, " if ratio else ""
        return f"{found.better} and {found.worse}: no difference shown in steps to {level} ({shown}{_odds(found)})"
    if ratio:
        return f"{found.better} reaches {level} in {ratio} the steps of {found.worse} ({_odds(found)})"
    often = f"in {better.reached} of {better.runs} runs, {found.worse} in {worse.reached} of {worse.runs}"
    return f"{found.better} reaches {level} {often} ({_odds(found)})"


def _by_score(found: Comparison, standings: Mapping[str, Standing], target: float, objective: Objective) -> str:
    level = level_text(target, objective)
    ends = [score_text(standings[name].score, objective) for name in (found.better, found.worse)]
    if not found.significant:
        return (
            f"{found.better} and {found.worse}: neither reaches {level}, and no difference shown at the end "
            f"({ends[0]} and {ends[1]}, {_odds(found)})"
        )
    return (
        f"{found.better} ends at {level_text(standings[found.better].score, objective)}, {found.worse} at {ends[1]}; "
        f"neither reaches {level} ({_odds(found)})"
    )


def _odds(found: Comparison) -> str:
    return f"p = {found.corrected:.2g}, {found.wins} of {found.seeds} seeds"


def power_note(starts: int, seeds: int) -> str | None:
    """A warning where no difference could be significant, whatever the runs."""
    pairs = starts * (starts - 1) // 2
    least = pairs * 2.0 ** (1 - seeds)
    if not pairs or least < LEVEL:
        return None
    enough = next(number for number in range(seeds, 64) if pairs * 2.0 ** (1 - number) < LEVEL)
    compared = "one pair" if pairs == 1 else f"{pairs} pairs"
    return (
        f"with {seeds} seed{'s' * (seeds != 1)} and {compared} of starts no difference can be significant "
        f"(least possible p = {min(1.0, least):.2g}): take {enough} seeds"
    )
