"""Seconds into steps."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

import pytest

from fanin.errors import ArgumentError
from fanin.race import RaceResult, Settings
from fanin.race.budget import RESERVE, Speed, fitting_steps, measured, runs_worth


@pytest.mark.parametrize(("step", "look", "start"), [(0.01, 0.03, 0.5), (0.0001, 0.0, 2.0), (1.0, 5.0, 0.0)])
def test_the_speed_is_told_apart_from_looks_and_from_what_happens_once(step: float, look: float, start: float) -> None:
    calls: list[int] = []

    def run(steps: int) -> float:
        calls.append(steps)
        return 8 * (steps * step + 2 * look) + (start if len(calls) == 1 else 0)

    speed = measured(8, 60.0, run)
    assert speed.step == pytest.approx(step, rel=1e-6)
    assert speed.look == pytest.approx(look, abs=1e-9)
    assert calls[:3] == [1, 1, 2]
    assert calls[-1] <= 256


def test_a_noisy_probe_still_gives_a_speed() -> None:
    times = iter([1.0, 0.9, 0.8])
    speed = measured(4, 10.0, lambda steps: next(times))
    assert speed.step == pytest.approx(0.8 / 2 / 4)
    assert speed.look == 0


@pytest.mark.parametrize(
    ("rates", "pilots", "worth"),
    [(1, 2, 3 * 8), (2, 2, 3 * (8 + 4)), (5, 2, 3 * (8 + 6 + 2.5)), (5, 1, 3 * (8 + 3 + 1.25))],
)
def test_work_of_a_race(rates: int, pilots: int, worth: float) -> None:
    assert runs_worth(3, 8, rates, pilots) == worth


@pytest.mark.parametrize("budget", [0.5, 5.0, 60.0, 600.0])
def test_the_steps_fit(budget: float) -> None:
    speed, worth = Speed(0.001, 0.002), 24.0
    steps = fitting_steps(budget, 0.1, speed, worth, 100_000, 64)
    assert worth * speed.of(steps) <= RESERVE * (budget - 0.1)
    assert worth * speed.of(int(1.25 * steps) + 2) > RESERVE * (budget - 0.1)


def test_no_more_than_a_hundred_passes() -> None:
    assert fitting_steps(1e6, 0.0, Speed(0.001, 0.002), 24.0, 640, 64) == 1000
    assert fitting_steps(1e6, 0.0, Speed(0.001, 0.002), 24.0, 10, 64) == 100


def test_a_budget_too_small_for_a_step() -> None:
    with pytest.raises(ArgumentError, match=r"a budget of 0.05 s is too small for a single step .* about 0.19 s"):
        fitting_steps(0.05, 0.1, Speed(0.001, 0.001), 24.0, 1000, 64)


def test_a_race_keeps_to_its_budget(race: Callable[..., RaceResult]) -> None:
    start = perf_counter()
    done = race(settings=Settings(batch_size=20), budget=4.0)
    assert perf_counter() - start < 12  # the machine may be busy
    assert done.settings.steps > 20
    assert len(done.runs[0].losses) == done.settings.steps
    assert done.settings.evaluate_every == max(1, done.settings.steps // 40)


def test_a_race_refuses_a_budget_too_small(race: Callable[..., RaceResult]) -> None:
    with pytest.raises(ArgumentError, match="is too small for a single step of each run: this race needs about"):
        race(budget=1e-3)
