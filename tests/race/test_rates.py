"""Learning rates: the least area wins, hopeless ones stop early, edges are followed, test data is not seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf, log10, nan

import pytest
import torch

from fanin.race.choice import Choice
from fanin.race.course import Course, course
from fanin.race.rates import Pilot, area, choose_rates, held_out
from fanin.race.training import Trained

GRID = (0.003, 0.01, 0.03, 0.1, 0.3)


def flat(loss: float, steps: int) -> Trained:
    return Trained((loss,) * steps, (0, steps), (loss, loss), (0.1, 0.1))


class Flight:
    """Pilots whose loss is a function of the rate, with all that flew."""

    def __init__(self, loss: Callable[[str, float, int], float]) -> None:
        self.loss = loss
        self.flown: list[Pilot] = []

    def __call__(self, pilots: Sequence[Pilot]) -> dict[Pilot, Trained]:
        self.flown += pilots
        return {each: flat(self.loss(each.start, each.rate, each.steps), each.steps) for each in pilots}

    def rates(self, start: str, steps: int) -> list[float]:
        return sorted({each.rate for each in self.flown if (each.start, each.steps) == (start, steps)})


def bowl(best: float) -> Callable[[str, float, int], float]:
    return lambda start, rate, steps: 1 + abs(log10(rate / best))


def test_area_is_the_mean_of_the_curve_by_trapezes() -> None:
    trained = Trained((1.0,) * 10, (0, 2, 10), (4.0, 2.0, 1.0), (0.0,) * 3)
    assert area(trained) == pytest.approx((2 * 3.0 + 8 * 1.5) / 10)
    assert area(Trained((1.0, nan), (0,), (1.0,), (0.0,))) == inf
    assert area(Trained((1.0, 1.0), (0, 2), (1.0, inf), (0.0, 0.0))) == inf


@pytest.mark.parametrize(("best", "finalists"), [(0.03, [0.01, 0.03, 0.1]), (0.1, [0.03, 0.1, 0.3])])
def test_all_rates_fly_a_quarter_and_the_better_half_all_steps(best: float, finalists: list[float]) -> None:
    flight = Flight(bowl(best))
    (choice,) = choose_rates(["he"], GRID, 80, [7, 8], flight)
    assert choice.rate == best
    assert flight.rates("he", 20) == list(GRID)
    assert flight.rates("he", 80) == finalists
    assert {each.seed for each in flight.flown} == {7, 8}
    assert len(flight.flown) == 2 * 5 + 2 * 3
    assert (choice.extended, choice.at_edge) == (False, False)
    assert [(trial.rate, trial.steps) for trial in choice.trials] == [
        *((r, 20) for r in GRID),
        *((r, 80) for r in finalists),
    ]


def test_each_start_has_its_own() -> None:
    flight = Flight(lambda start, rate, steps: 1 + abs(log10(rate / {"a": 0.01, "b": 0.1}[start])))
    assert [each.rate for each in choose_rates(["a", "b"], GRID, 80, [7], flight)] == [0.01, 0.1]


@pytest.mark.parametrize(
    ("best", "chosen", "tried", "at_edge"),
    [
        (0.3, 0.3, [0.1, 0.3, 1.0], False),
        (1.0, 1.0, [0.3, 1.0, 3.0], False),
        (1e3, 3.0, [1.0, 3.0], True),
        (1e-9, 0.0003, [0.0003, 0.001], True),
    ],
)
def test_an_edge_is_followed_twice_at_most(best: float, chosen: float, tried: list[float], at_edge: bool) -> None:
    flight = Flight(bowl(best))
    (choice,) = choose_rates(["he"], GRID, 80, [7], flight)
    assert choice.rate == pytest.approx(chosen, rel=0.15)
    assert choice.extended
    assert choice.at_edge == at_edge
    flown = flight.rates("he", 80)
    assert len(flown) <= 3 + 2
    assert all(any(abs(each / rate - 1) < 0.15 for each in flown) for rate in tried)


def test_where_all_diverge_the_lower_rates_are_tried() -> None:
    flight = Flight(lambda start, rate, steps: inf if rate > 0.002 else 1 + abs(log10(rate / 0.001)))
    (choice,) = choose_rates(["he"], GRID, 80, [7], flight)
    assert choice.rate == 0.001
    never = choose_rates(["he"], GRID, 80, [7], Flight(lambda start, rate, steps: inf))[0]
    assert never.at_edge
    assert never.rate == min(trial.rate for trial in never.trials if trial.steps == 80)


def test_a_rate_that_diverged_does_not_fly_again_if_another_did_not() -> None:
    flight = Flight(lambda start, rate, steps: inf if rate > 0.005 else 1.0)
    choose_rates(["he"], GRID, 80, [7], flight)
    assert 0.01 not in flight.rates("he", 80)


def test_one_that_diverges_for_one_seed_is_no_choice() -> None:
    def fly(pilots: Sequence[Pilot]) -> dict[Pilot, Trained]:
        return {
            each: flat(inf if each.rate == 0.1 and each.seed == 8 else 1 + abs(log10(each.rate / 0.1)), each.steps)
            for each in pilots
        }

    assert choose_rates(["he"], GRID, 80, [7, 8], fly)[0].rate in (0.03, 0.3)


def test_one_rate_needs_no_pilot() -> None:
    assert choose_rates(["he"], [0.1], 80, [7], Flight(bowl(1))) == (Choice("he", 0.1),)


def numbered(count: int, tests: int) -> Course:
    def part(first: int, size: int) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.arange(first, first + size).float()[:, None], torch.zeros(size, dtype=torch.long)

    return course((part(0, count), part(1000, tests)))


@pytest.mark.parametrize(("count", "tests", "aside"), [(100, 50, 20), (100, 5, 5), (20, 9, 4)])
def test_pilots_are_judged_on_training_samples_that_they_do_not_see(count: int, tests: int, aside: int) -> None:
    made = held_out(numbered(count, tests))
    kept, out = (set(part[0][:, 0].int().tolist()) for part in (made.train, made.test))
    assert (len(kept), len(out)) == (count - aside, aside)
    assert not kept & out
    assert kept | out == set(range(count))
    assert sorted(out) != list(range(count - aside, count))  # sets are often sorted by class


def test_few_samples_judge_themselves() -> None:
    made = held_out(numbered(19, 5))
    assert made.test[0].tolist() == made.train[0].tolist() == [[float(each)] for each in range(19)]
