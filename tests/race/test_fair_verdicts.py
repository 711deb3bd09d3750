"""What is alike counts as alike, what reached the target has not failed, and each start trains its own network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import inf, nan
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from fanin.errors import ArgumentError
from fanin.race import RaceResult, Settings
from fanin.race.comparing import Comparison, comparisons
from fanin.race.constant import Level, constant_level
from fanin.race.course import Course, course
from fanin.race.engines import Lane, train_lanes, units
from fanin.race.engines.stacked import stacked
from fanin.race.objective import OBJECTIVES, with_gaps
from fanin.race.rates import held_out
from fanin.race.run import Run
from fanin.race.standing import outcome
from fanin.race.statistics import signed_rank
from fanin.race.targets import resolved_target
from fanin.race.training import evaluate

from .lanes_to_train import SETTINGS, images, trained

CLASSES = OBJECTIVES["classification"]
ONE, OTHER = [81, 82, 82, 91, 85, 89, 88, 86], [84, 80, 85, 95, 84, 91, 92, 88]
DATA = images()


def run(start: str, seed: int, *scores: float) -> Run:
    looks = len(scores)
    return Run(start, seed, 0.1, (1.0,) * looks, tuple(range(looks)), (1.0,) * looks, scores)


def compared(*ends: list[float], task: str = "classification") -> Comparison:
    """The comparison of the final scores of two starts."""
    runs = {name: [run(name, *each) for each in enumerate(row)] for name, row in zip("ab", ends, strict=True)}
    return comparisons(runs, 2.0, OBJECTIVES[task])[1]


@pytest.mark.parametrize("scale", [1, 100, 1000, 700, 3])
def test_ties_of_scores_are_ties_whatever_the_unit(scale: int) -> None:
    found = compared(*([each / scale for each in row] for row in (ONE, OTHER)))
    assert (found.p, found.wins, found.losses) == (0.0625, 6, 2)
    assert signed_rank([b / scale - a / scale for a, b in zip(ONE, OTHER, strict=True)]).p == 0.0625


def test_scores_equal_but_for_rounding_are_equal() -> None:
    found = compared([0.3] * 6, [0.1 + 0.2] * 6)
    assert (found.p, found.wins, found.losses, found.seeds) == (1, 0, 0, 6)


def test_a_huge_error_on_one_seed_leaves_the_others_their_differences() -> None:
    found = compared([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [0.2, 0.4, 0.6, 0.8, 1.0, 1e15], task="regression")
    assert (found.better, found.wins, found.p) == ("a", 6, 2 / 64)
    assert signed_rank([inf, -inf, inf - inf, 1.0]).equal == 1
    assert signed_rank([inf, -inf, inf, 1.0]).effect == pytest.approx((3 - 3 + 3 + 1) / 10)


def lopsided(samples: int = 80) -> Course:
    targets = (torch.arange(samples) % 10 == 0).long()
    return course(((torch.zeros(samples, 1), targets), (torch.zeros(samples, 1), targets)))


@pytest.mark.parametrize("samples", [10, 20, 80, 1000])
def test_all_right_is_no_failure_and_no_target_is_beyond_it(samples: int) -> None:
    level = constant_level(lopsided(samples))
    assert level.score + level.margin < 1
    assert not level.stuck(1.0, CLASSES)
    assert level.stuck(level.score, CLASSES)
    target, rule, _ = resolved_target(None, None, {"a": [run("a", 0, 0.9, 0.9)]}, CLASSES, level)
    assert target < 1
    assert rule == "runs"
    assert outcome(run("a", 0, 0.5, 1.0), target, CLASSES, level) == "reached"


def test_a_run_that_reached_the_target_did_not_fail() -> None:
    level = Level(0.5, 0.1)
    assert outcome(run("a", 0, 0.5, 0.75, 0.55), 0.7, CLASSES, level) == "reached"
    assert outcome(run("a", 0, 0.5, 0.65, 0.55), 0.7, CLASSES, level) == "stuck"
    assert outcome(run("a", 0, 0.5, 0.65), 0.7, CLASSES, level) == "slow"
    assert outcome(run("a", 0, 0.75, nan), 0.7, CLASSES, level) == "diverged"
    runs = [*(run("a", seed, 0.5, 0.75, 0.55) for seed in range(8)), *(run("b", seed, 0.5, 0.5) for seed in range(8))]
    result = RaceResult("m", Settings(), tuple(runs), target=0.7, level=level)
    assert [(row.reached, row.failures, row.steps_to_target) for row in result.standings] == [(8, 0, 1), (0, 8, None)]
    assert result.verdicts[0].startswith("a reaches 70% accuracy in 8 of 8 runs, b in 0 of 8")


@pytest.mark.parametrize("task", ["classification", "tokens"])
def test_a_batch_in_which_nothing_counts_teaches_nothing(task: str) -> None:
    outputs = torch.randn(6, 4, 5).requires_grad_()
    targets = torch.full((6, 4), -100)
    if task == "classification":
        outputs, targets = outputs[:, 0], targets[:, 0]
    loss = with_gaps(OBJECTIVES[task]).loss(outputs, targets)
    assert loss.item() == 0
    (gradient,) = torch.autograd.grad(loss, outputs)
    assert not gradient.any()


def test_the_loss_has_the_bits_of_torchs_mean() -> None:
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        outputs = torch.randn(37, 10, generator=generator).requires_grad_()
        targets = torch.randint(10, (37,), generator=generator)
        targets[: seed % 7] = -100
        losses = with_gaps(CLASSES).loss(outputs, targets), cross_entropy(outputs, targets)
        assert losses[0].equal(losses[1])
        ours, theirs = (torch.autograd.grad(loss, outputs)[0] for loss in losses)
        assert ours.equal(theirs)


def sparse(samples: int = 200, counted: int = 1) -> Course:
    targets = torch.full((samples,), -100)
    targets[:counted] = torch.arange(counted) % 2
    inputs = torch.randn(samples, 3, generator=torch.Generator().manual_seed(0))
    return course(((inputs, targets), (inputs, targets)))


@pytest.mark.parametrize("counted", [1, 2, 150])
def test_pilots_are_judged_by_something(counted: int) -> None:
    made = held_out(sparse(counted=counted))
    assert all(made.objective.count(part[1]) for part in (made.train, made.test))
    assert (len(made.train[1]) == 200) == (counted < 3)


def test_a_test_set_in_which_nothing_counts_divides_by_nothing() -> None:
    inputs = torch.randn(5, 3)
    assert evaluate(nn.Linear(3, 2), (inputs, torch.full((5,), -100)), CLASSES) == (0, 0)


@pytest.mark.parametrize("engine", ["sequential", "stacked,group=2"])
def test_batches_without_a_label_do_not_end_a_run(engine: str) -> None:
    """The first hundred test samples, all that the trial of an engine sees, count nothing either."""
    rare = sparse()
    rare = Course(rare.train, (rare.test[0].flip(0), rare.test[1].flip(0)), rare.objective)
    some = [Lane("native", seed, 0.05, lambda: nn.Linear(3, 2), 20) for seed in range(2)]
    for done in trained(some, rare, engine):
        assert len(done.losses) == 20
        assert done.losses.count(0.0) > 10
        assert all(map(torch.isfinite, torch.tensor(done.test_losses)))


class Scaled(nn.Module):
    """A scale that `repr` does not show."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.scale * inputs


def behind(middle: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(nn.Flatten(), nn.Linear(196, 12), middle(), nn.Linear(12, 10))


@pytest.mark.parametrize(
    "middles",
    [
        (lambda: nn.LeakyReLU(0.0), lambda: nn.LeakyReLU(0.9)),
        (lambda: Scaled(1.0), lambda: Scaled(-0.5)),
        (lambda: nn.AvgPool1d(3, 1, 1), lambda: nn.AvgPool1d(7, 1, 3)),  # the sizes are tuples
        (nn.ReLU, nn.Tanh),
    ],
)
def test_a_stack_trains_each_lanes_own_network(middles: tuple[Callable[[], nn.Module], ...]) -> None:
    some = [
        Lane(f"start {number}", seed, 0.05, behind(middle), 6)
        for seed in range(2)
        for number, middle in enumerate(middles)
    ]
    alone, together = (trained(some, DATA, engine) for engine in ("sequential", "stacked,group=4"))
    for one, other in zip(alone, together, strict=True):
        assert other.losses == pytest.approx(one.losses, rel=1e-3)


def test_lanes_of_one_kind_are_still_one_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def counting(models: list[nn.Module], *rest: Any) -> Iterator[None]:
        sizes.append(len(models))
        return stacked(models, *rest)

    monkeypatch.setattr(units, "stacked", counting)
    build = behind(lambda: nn.Sequential(nn.BatchNorm1d(12), nn.LeakyReLU(0.2), Scaled(0.5)))
    trained([Lane("native", seed, 0.05, build, 2) for seed in range(4)], DATA, "stacked,group=4")
    assert sizes[-1] == 4


def test_the_trial_of_stacking_sees_every_kind() -> None:
    """Dropout that only the second start has is refused beforehand, not in the middle of the race."""
    some = [Lane(middle.__name__, seed, 0.05, behind(middle), 2) for middle in (nn.Tanh, nn.Dropout) for seed in (0, 1)]
    with pytest.raises(ArgumentError, match=r"cannot train this model: torch\.func\.vmap refuses it"):
        train_lanes(some, DATA, SETTINGS, engine="stacked,group=4")
