"""What follows from the runs: standings, paired tests, targets, sentences, JSON."""

from __future__ import annotations

import json
from math import inf, nan
from typing import Any

import pytest

from fanin.errors import DataError
from fanin.race import Choice, Comparison, RaceResult, Run, Settings, Standing, Trial
from fanin.race.comparing import comparisons
from fanin.race.constant import Level
from fanin.race.objective import OBJECTIVES
from fanin.race.standing import standing
from fanin.race.targets import resolved_target
from fanin.race.words import power_note

CLASSES, VALUES = OBJECTIVES["classification"], OBJECTIVES["regression"]
LEVEL = Level(0.1, 0.03)


def run(start: str, seed: int, reached: int | None, end: float, loss: float = 0.5) -> Run:
    """A run that is at 90 % after so many steps."""
    return Run(
        start, seed, 0.05, (2.3, loss), (0, reached or 99, 100), (2.3, 1.0, 0.5), (0.1, 0.9 if reached else 0.1, end)
    )


def of(steps: dict[str, list[int | None]], end: float = 0.95) -> tuple[Run, ...]:
    return tuple(run(name, seed, each, end) for name, row in steps.items() for seed, each in enumerate(row))


def test_standings() -> None:
    runs = [run("he", 0, 40, 0.95), run("he", 1, 60, 0.93), run("he", 2, None, 0.1), run("he", 3, None, 0.5, nan)]
    row = standing(runs, 0.9, CLASSES, LEVEL, 0.5)
    assert (row.reached, row.slow, row.stuck, row.diverged) == (2, 0, 1, 1)
    assert row.steps_to_target is None  # the median is between 60 and never
    assert row.spread == (40, 60)
    assert row.score == pytest.approx((0.95 + 0.93 + 0.1 + 0.1) / 4)  # a diverged one is worth a constant
    assert (row.lowest, row.highest) == (0.1, 0.95)
    assert (row.failures, row.runs) == (2, 4)
    three = standing(runs[:3], 0.9, CLASSES, LEVEL, 0.5)
    assert (three.steps_to_target, three.seconds_to_target) == (60, 30)
    assert standing([run("he", 0, None, 0.5)], 0.9, CLASSES, LEVEL, None).slow == 1


def test_a_diverged_run_has_not_reached_the_target() -> None:
    row = standing([run("he", 0, 40, 0.95, inf)], 0.9, CLASSES, LEVEL, None)
    assert (row.reached, row.diverged, row.steps_to_target) == (0, 1, None)


def test_intervals_stay_within_what_an_accuracy_can_be() -> None:
    row = standing([run("he", seed, 10, end) for seed, end in enumerate((1.0, 0.9, 0.2))], 0.9, CLASSES, LEVEL, None)
    assert row.interval == (0.0, 1.0)


def test_seeds_are_paired() -> None:
    """One start is better on every seed, though seeds differ far more than starts."""
    steps: list[int | None] = [10, 200, 30, 400, 50, 600, 70, 800]
    runs = of({"a": steps, "b": [each + 1 for each in steps if each]})
    found = RaceResult("m", Settings(), runs).comparisons[0]
    assert (found.better, found.worse, found.p, found.wins) == ("a", "b", 2 / 256, 8)
    # The order of the runs is no order of the seeds.
    shuffled = tuple(sorted(runs, key=lambda each: (each.start, each.seed * (5 if each.start == "a" else 3) % 8)))
    assert RaceResult("m", Settings(), shuffled).comparisons[0] == found
    # Five seeds are worse by 11 steps, one is better by 51: ranks of 3 and one of 6.
    crossed = of({"a": [10, 20, 30, 40, 50, 60], "b": [21, 31, 41, 51, 61, 9]})
    assert RaceResult("m", Settings(), crossed).comparisons[0].effect == pytest.approx((5 * 3 - 6) / 21)


def test_runs_that_never_reach_the_target_are_last() -> None:
    found = comparisons({"a": of({"a": [90] * 6}), "b": of({"b": [80, None, None, None, None, None]})}, 0.9, CLASSES)
    assert (found[0].better, found[0].wins, found[0].losses) == ("a", 5, 1)
    both = comparisons({"a": of({"a": [None] * 6}), "b": of({"b": [None] * 6})}, 0.9, CLASSES)
    assert (both[0].p, both[0].wins, both[0].losses, both[0].seeds) == (1, 0, 0, 6)


def test_a_lower_error_is_better() -> None:
    runs = {
        name: [Run(name, s, 0.1, (1.0,), (0, 1), (1.0, e), (1.0, e)) for s in range(6)]
        for name, e in (("a", 0.2), ("b", 0.1))
    }
    steps, score = comparisons(runs, 0.15, VALUES)
    assert (score.better, steps.better) == ("b", "b")
    assert score.p == 2 / 64


def test_holm_corrects_for_the_pairs_of_a_measure() -> None:
    runs = of({"a": [10] * 8, "b": [20] * 8, "c": [30] * 8})
    steps = [each for each in RaceResult("m", Settings(), runs).comparisons if each.measure == "steps"]
    assert [each.p for each in steps] == [2 / 256] * 3
    assert [each.corrected for each in steps] == pytest.approx([6 / 256] * 3)
    assert all(each.significant for each in steps)
    assert not Comparison("steps", "a", "b", 0.01, 0.05, 1.0, 8, 8, 0).significant


def test_sentences() -> None:
    steps: dict[str, list[int | None]] = {"auto": [35] * 8, "native": [50] * 8, "flat": [None] * 8, "deaf": [None] * 8}
    told = RaceResult("m", Settings(), of(steps, 0.8), level=LEVEL).verdicts
    assert told[0] == "auto reaches 90% accuracy in 0.7× the steps of native (p = 0.047, 8 of 8 seeds)"
    assert told[1] == "auto reaches 90% accuracy in 8 of 8 runs, flat in 0 of 8 (p = 0.047, 8 of 8 seeds)"
    assert told[5] == (
        "flat and deaf: neither reaches 90% accuracy, and no difference shown at the end "
        "(80% and 80%, p = 1, 0 of 8 seeds)"
    )
    few = RaceResult("m", Settings(), of({"auto": [35] * 3, "native": [50] * 3}))
    assert few.verdicts == (
        "auto and native: no difference shown in steps to 90% accuracy (0.7× the steps, p = 0.25, 3 of 3 seeds)",
    )
    assert few.warnings[-1].endswith("no difference can be significant (least possible p = 0.25): take 6 seeds")
    ends = tuple(run(name, seed, None, end) for name, end in (("a", 0.8), ("b", 0.7)) for seed in range(8))
    assert RaceResult("m", Settings(), ends).verdicts == (
        "a ends at 80% accuracy, b at 70%; neither reaches 90% accuracy (p = 0.0078, 8 of 8 seeds)",
    )


@pytest.mark.parametrize(("starts", "seeds", "enough"), [(2, 5, 6), (3, 6, 7), (4, 7, 8), (5, 8, 9), (6, 8, 10)])
def test_power_note_is_when_it_says(starts: int, seeds: int, enough: int) -> None:
    told = power_note(starts, seeds)
    assert told is not None
    assert told.endswith(f"take {enough} seeds")
    assert power_note(starts, enough) is None
    assert power_note(1, 1) is None


@pytest.mark.parametrize(
    ("given", "usual", "finals", "expected"),
    [
        (0.5, 0.9, {"a": [0.95]}, (0.5, "given")),
        (None, 0.9, {"a": [0.95], "b": [0.2]}, (0.9, "data")),
        (None, 0.9, {"a": [0.95, 0.91, 0.2], "b": [0.2] * 3}, (0.9, "data")),
        (None, 0.9, {"a": [0.95, 0.5], "b": [0.2] * 2}, (0.195, "runs")),  # only half of a's
        (None, 0.99, {"a": [0.95], "b": [0.8]}, (0.765, "runs")),  # the worse of two
        (None, None, {"a": [0.95], "b": [0.8], "c": [0.7]}, (0.765, "runs")),  # the median of three
        (None, None, {"a": [0.95, 0.9, 0.94]}, (0.898, "runs")),
        (
            None,
            None,
            {"a": [0.95], "b": [0.1], "c": [0.11]},
            (0.907, "runs"),
        ),  # those that learned nothing are left out
        (None, None, {"a": [0.1], "b": [0.11]}, (0.13, "runs")),  # what any learning would reach
        (None, None, {"a": [0.87654]}, (0.837, "runs")),
    ],
)
def test_target(given: float | None, usual: float | None, finals: dict[str, list[float]], expected: Any) -> None:
    runs = {name: [run(name, seed, None, end) for seed, end in enumerate(row)] for name, row in finals.items()}
    target, rule, told = resolved_target(given, usual, runs, CLASSES, LEVEL)
    assert (target, rule) == (pytest.approx(expected[0]), expected[1])
    assert (told is not None) == (rule == "runs" and usual is not None)


def test_target_of_errors_is_rounded_up() -> None:
    runs = {"a": [Run("a", 0, 0.1, (1.0,), (0, 1), (1.0, 1.0), (1.0, 0.12341))]}
    # 1 − 0.95·(1 − 0.12341) = 0.16724
    assert resolved_target(None, None, runs, VALUES, Level(1.0, 0.01))[0] == pytest.approx(0.168)
    two = runs | {"b": [Run("b", 0, 0.1, (1.0,), (0, 1), (1.0, 1.0), (1.0, 0.5))]}
    assert resolved_target(None, None, two, VALUES, Level(1.0, 0.01))[0] == 0.525


def test_json_is_complete_and_strict(result: RaceResult) -> None:
    text = result.to_json()
    assert RaceResult.from_json(text) == result
    data = json.loads(text)
    assert data["standings"][0]["start"] == "native"
    assert data["verdicts"] == list(result.verdicts)
    bad = RaceResult(
        "m",
        Settings(rates=(0.1, 0.2)),
        (run("he", 0, None, inf, nan),),
        seeds=(0,),
        choices=(Choice("he", 0.1, (Trial(0.1, 10, inf),), extended=True),),
        notes=("a",),
        task="regression",
    )
    assert RaceResult.from_json(bad.to_json()) == bad
    assert "NaN" not in bad.to_json()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "this is not JSON"),
        ("[]", "not the JSON of a race, but of a list"),
        ("{}", "not the JSON of a race: 'fanin_race' is None, not 1"),
        ('{"fanin_race": 1}', r"the JSON of this race is damaged \(KeyError: 'settings'\)"),
    ],
)
def test_what_is_no_race(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        RaceResult.from_json(text)


def test_text(result: RaceResult) -> None:
    lines = str(result).splitlines()
    assert lines[0] == "Sequential: sgd, 12 steps of 20 samples"
    assert lines[1].split()[:2] == ["start", "rate"]
    assert lines[2].split()[:2] == ["native", "0.05"]
    assert lines[2].endswith("of 2")
    assert lines[4] == result.verdicts[0]


def test_markdown(result: RaceResult) -> None:
    told = result.to_markdown()
    assert told.startswith("## Sequential: fanin compare\n\n- ")
    assert "| `native` | 0.05 |" in told
    assert "learning rate the same for all" in told


def test_an_unfinished_race_is_known(result: RaceResult) -> None:
    assert result.complete
    assert not RaceResult("m", Settings(), result.runs[:3], seeds=(0, 1)).complete
    assert isinstance(RaceResult("m", Settings(), result.runs[:1], seeds=(0, 1)).standings[0], Standing)
