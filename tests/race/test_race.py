"""The race: repeatable to the bit, the same order for all recipes, failures counted."""

from __future__ import annotations

import json
from math import inf, nan
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import fanin.models
from fanin.data import mnist
from fanin.errors import ArgumentError, DataError, UnknownNameError
from fanin.race import RaceResult, Run, Settings, Standing, compare
from fanin.race.training import batches
from fanin.report.curves import plot_curves, save_curves

SHORT = Settings(steps=12, batch_size=20, evaluate_every=5)
RECIPES = ["native", "he"]


def small() -> nn.Module:
    return fanin.models.build("mlp:784-16-10")


def race(**options: Any) -> RaceResult:
    return compare(small, DATA, RECIPES, **({"seeds": 2, "settings": SHORT} | options))


DIGITS = mnist()
DATA = (
    (DIGITS.train.images[:200].reshape(200, -1), DIGITS.train.labels[:200]),
    (DIGITS.test.images[:100].reshape(100, -1), DIGITS.test.labels[:100]),
)


@pytest.fixture(scope="module")
def result() -> RaceResult:
    return race()


def test_runs_repeat_bit_for_bit_on_any_number_of_workers(result: RaceResult) -> None:
    torch.manual_seed(5)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    assert race(workers=1).runs == result.runs
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads


def test_runs_are_those_asked_for(result: RaceResult) -> None:
    assert [(run.recipe, run.seed) for run in result.runs] == [("native", 0), ("native", 1), ("he", 0), ("he", 1)]
    run = result.runs[0]
    assert run.seen == (0, 5, 10, 12)
    assert len(run.losses) == 12
    assert len(run.accuracies) == len(run.test_losses) == 4
    assert len({run.losses for run in result.runs}) == 4


def test_models_with_dropout_repeat_too() -> None:
    def dropped() -> nn.Module:
        return nn.Sequential(nn.Linear(784, 8), nn.Dropout(0.5), nn.ReLU(), nn.Linear(8, 10))

    first, again = (compare(dropped, DATA, ["he"], 2, settings=SHORT, workers=2) for _ in range(2))
    assert first.runs == again.runs


def test_order_depends_on_the_seed_alone() -> None:
    settings = Settings(steps=7, batch_size=3)
    first, again, other = ([b.tolist() for b in batches(10, settings, seed)] for seed in (1, 1, 2))
    assert first == again != other
    assert [len(b) for b in first] == [3] * 7
    assert len({i for b in first[:3] for i in b}) == 9


def test_all_recipes_see_the_same_samples() -> None:
    seen: list[list[float]] = []

    class Spy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(784, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if self.training and x.shape[0] == 20 and x.device.type == "cpu":
                seen.append(x.sum(1).tolist())
            return self.linear(x)

    compare(Spy, DATA, RECIPES, [3], settings=SHORT, workers=1)
    assert len(seen) == 24
    assert seen[:12] == seen[12:]


def test_it_learns_and_says_when() -> None:
    settings = Settings(steps=60, batch_size=20, target=0.5)
    (standing,) = compare(small, DATA, ["he"], [0], settings=settings).standings
    assert standing.reached == 1
    assert standing.steps_to_target in range(10, 61, 10)
    assert standing.accuracy > 0.5


def test_divergence_is_counted() -> None:
    settings = Settings(steps=30, batch_size=20, learning_rate=1e20)
    outcome = compare(small, DATA, ["he"], [0], settings=settings)
    assert outcome.runs[0].outcome == "diverged"
    assert len(outcome.runs[0].losses) < 30
    assert outcome.standings[0].failures == 1
    json.dumps(outcome.to_dict(), allow_nan=False)


def run(steps: int | None, accuracy: float, outcome: Any = "reached", loss: float = 1.0) -> Run:
    return Run("he", 0, (2.0, loss), (0, 2), (0.1, accuracy), (2.3, loss), steps, outcome)


def test_standings() -> None:
    runs = [run(40, 0.95), run(60, 0.93), run(None, 0.1, "stuck")]
    assert Standing.of("he", runs) == Standing("he", 60, (40, 60), 0.93, 0.1, 0.95, 2, 0, 1, 0)
    assert Standing.of("he", runs[2:]).steps_to_target is None


def test_text(result: RaceResult) -> None:
    lines = str(result).splitlines()
    assert lines[0].endswith(": sgd, learning rate 0.05, 12 steps")
    assert lines[1].split() == ["recipe", "steps", "to", "90%", "final", "accuracy", "failed"]
    assert lines[2].split()[0] == "native"
    assert lines[2].endswith("of 2")


def test_progress_is_told() -> None:
    told: list[tuple[int, int]] = []
    race(progress=lambda done, total, _: told.append((done, total)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": 0}, "a race needs at least one seed, got 0"),
        ({"settings": {"steps": 0}}, "steps must be at least 1, got 0"),
        ({"settings": {"optimizer": "lion"}}, "optimizer must be 'sgd' or 'adam', got 'lion'"),
        ({"settings": {"target": 90}}, "target is a test accuracy above 0 and up to 1, got 90"),
        ({"settings": {"learning_rate": 0.0}}, "learning_rate must be positive, got 0.0"),
    ],
)
def test_bad_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        race(**{key: Settings(**value) if isinstance(value, dict) else value for key, value in options.items()})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (3, r"data must be a pair \(train, test\) or fanin.data.mnist\(\), got int"),
        (
            ((np.zeros((3, 4)), np.zeros(2, dtype=int)),) * 2,
            "one integer per sample, got torch.int64 .2. for inputs .3, 4.",
        ),
        (((np.full((3, 4), nan), np.zeros(3, dtype=int)),) * 2, "hold 12 non-finite values of 12: clean them first"),
    ],
)
def test_bad_data(data: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        compare(small, data, ["he"])


def test_bad_recipes() -> None:
    with pytest.raises(ArgumentError, match="one or more different recipes"):
        compare(small, DATA, ["he", "he"])
    with pytest.raises(UnknownNameError, match="did you mean 'xavier'"):
        compare(small, DATA, ["xaver"])


def test_curves_as_png(result: RaceResult, tmp_path: Any) -> None:
    image = pytest.importorskip("matplotlib.image")
    path = save_curves([result, result], tmp_path / "race.png")
    pixels = image.imread(path)
    assert pixels.shape[0] > 600
    assert pixels.shape[1] > 1200
    assert 0.02 < float((pixels[..., :3].min(axis=2) < 0.9).mean()) < 0.5
    assert list(tmp_path.iterdir()) == [path]


def test_curves_of_a_diverged_race(tmp_path: Any) -> None:
    runs = (run(None, 0.1, "diverged", inf), run(2, 0.9))
    outcome = RaceResult("m", Settings(steps=2, evaluate_every=1), runs)
    assert save_curves(outcome, tmp_path / "a.png").stat().st_size > 10_000
    assert "m: training loss, median of 2 seeds" in plot_curves(outcome, colour=False)


def test_curves_in_the_terminal(result: RaceResult) -> None:
    plain = plot_curves(result, width=70, height=12, colour=False)
    assert "\x1b" not in plain
    assert max(map(len, plain.splitlines())) <= 70
    assert plain.splitlines()[-1].split() == ["a", "native", "b", "he"]
    assert "\x1b[94m━━\x1b[0m native" in plot_curves(result)


def test_no_race_no_curves(tmp_path: Any) -> None:
    with pytest.raises(ArgumentError, match="there is no race to plot"):
        save_curves([], tmp_path / "a.png")
