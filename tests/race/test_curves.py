"""Curves: what they are made of, the PNG, the plot for the terminal, the panels of the page."""

from __future__ import annotations

import json
from math import inf, nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fanin.errors import ArgumentError
from fanin.race import RaceResult, Run, Settings
from fanin.race.curves import band, score_on_test, training_loss
from fanin.report.curves import plot_curves, save_curves


def run(seed: int, losses: tuple[float, ...], scores: tuple[float, ...] = (0.1, 0.9)) -> Run:
    return Run("he", seed, 0.1, losses, tuple(range(0, 2 * len(scores), 2)), (2.3,) * len(scores), scores)


def test_losses_are_means_between_looks() -> None:
    runs = [run(0, (4.0, 2.0, 1.0)), run(1, (8.0, 6.0, nan))]
    steps, values = training_loss(runs, Settings(steps=3, evaluate_every=2))
    assert steps.tolist() == [2, 3]
    assert values[0].tolist() == [3, 1]
    assert values[1, 0] == 7
    assert np.isnan(values[1, 1])
    drawn = band("he", steps, values)
    assert drawn == {"start": "he", "steps": [2, 3], "median": [5, 1], "low": [3, 1], "high": [7, 1]}


def test_scores_stay_where_a_run_stopped() -> None:
    runs = [run(0, (1.0,), (0.1, 0.5, 0.9)), run(1, (inf,), (0.1,)), run(2, (1.0,), (0.1, nan, 0.3))]
    steps, values = score_on_test(runs, 100)
    assert steps.tolist() == [0, 2, 4]
    assert values[:2].tolist() == [[10, 50, 90], [10, 10, 10]]
    assert np.isnan(values[2, 1])


def test_curves_as_png(result: RaceResult, tmp_path: Path) -> None:
    image = pytest.importorskip("matplotlib.image")
    path = save_curves([result, result], tmp_path / "race.png")
    pixels = image.imread(path)
    assert pixels.shape[0] > 600
    assert pixels.shape[1] > 1200
    assert 0.02 < float((pixels[..., :3].min(axis=2) < 0.9).mean()) < 0.5
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_curves_of_a_diverged_race(task: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    runs = (run(0, (2.0, inf), (0.1,)), run(1, (2.0, 1.0)))
    outcome = RaceResult("m", Settings(steps=2, evaluate_every=1), runs, task=task)
    assert save_curves(outcome, tmp_path / "a.png").stat().st_size > 10_000
    assert "m: training loss, median of 2 seeds" in plot_curves(outcome, colour=False)


def test_curves_in_the_terminal(result: RaceResult) -> None:
    pytest.importorskip("plotext")
    plain = plot_curves(result, width=70, height=12, colour=False)
    assert "\x1b" not in plain
    assert max(map(len, plain.splitlines())) <= 70
    assert plain.splitlines()[-1].split() == ["a", "native", "b", "he"]
    assert "\x1b[94m━━\x1b[0m native" in plot_curves(result)


def test_no_race_no_curves(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="there is no race to plot"):
        save_curves([], tmp_path / "a.png")


def test_the_page_holds_the_curves(result: RaceResult, tmp_path: Path) -> None:
    text = result.to_html(tmp_path / "race.html").read_text(encoding="utf-8")
    data: Any = json.loads(text.partition('id="data">')[2].partition("</script>")[0])
    loss, score = data["panels"]
    assert [curve["start"] for curve in loss["curves"]] == ["native", "he"]
    expected = band("he", *score_on_test(result.of("he"), 100))
    assert score["curves"][1] == expected
    assert score["target"] == pytest.approx(100 * result.target)
