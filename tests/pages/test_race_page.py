"""The page of a race in a real browser: it opens in silence, its curves are drawn, its tables hold the numbers."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import Any

import pytest

from fanin.race import Choice, RaceResult, Run, Settings, Trial
from fanin.race.constant import Level

Open = Callable[..., Any]
STARTS = ("auto", "native", "<b>flat</b>")


def run(start: str, seed: int, speed: float) -> Run:
    seen = tuple(range(0, 101, 5))
    scores = tuple(min(0.97, 0.1 + speed * step * (1 + 0.01 * seed)) for step in seen)
    losses = tuple(2.3 / (1 + speed * step) for step in range(100))
    return Run(start, seed, 0.1, losses, seen, tuple(2.3 - 2 * score for score in scores), scores)


@pytest.fixture(scope="module")
def result() -> RaceResult:
    speeds = dict(zip(STARTS, (0.02, 0.01, 0.0), strict=True))
    runs = [run(start, seed, speed) for start, speed in speeds.items() for seed in range(8)]
    runs[-1] = Run(STARTS[2], 7, 0.1, (2.3, inf), (0,), (2.3,), (0.1,))
    trials = (Trial(0.1, 25, 1.2), Trial(0.3, 25, inf), Trial(0.1, 100, 0.9))
    return RaceResult(
        "mnist-fc",
        Settings(steps=100, evaluate_every=5),
        tuple(runs),
        level=Level(0.1, 0.03),
        data="mnist",
        seeds=tuple(range(8)),
        choices=tuple(Choice(start, 0.1, trials) for start in STARTS),
        seconds_per_step=0.01,
        engine="threads,workers=2",
        made_with="fanin 0",
        command="fanin compare mnist-fc --data mnist",
        notes=("a note",),
    )


@pytest.fixture(scope="module")
def path(result: RaceResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return result.to_html(tmp_path_factory.mktemp("race") / "race.html")


def inked(page: Any, place: int) -> float:
    return page.evaluate(
        """(place) => { const canvas = document.querySelectorAll("#curves canvas")[place];
        const seen = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
        let drawn = 0; for (let at = 3; at < seen.length; at += 4) drawn += seen[at] > 0;
        return 4 * drawn / seen.length; }""",
        place,
    )


def cells(page: Any, section: str) -> list[list[str]]:
    return page.evaluate(
        """(id) => [...document.querySelectorAll(`#${id} tbody tr`)].map((row) =>
        [...row.cells].map((cell) => cell.textContent))""",
        section,
    )


def test_opens_in_silence_and_asks_for_nothing(opened: Open, path: Path) -> None:
    there = opened(path)
    assert there.said == []
    assert there.asked == [path.as_uri()]
    order = there.page.evaluate("[...document.querySelectorAll('main > section')].map((section) => section.id)")
    assert order == ["result", "curves", "tests", "rates", "how"]
    assert all(inked(there.page, place) > 0.02 for place in (0, 1))


def test_says_what_the_tests_say(opened: Open, path: Path, result: RaceResult) -> None:
    page = opened(path).page
    assert page.locator(".tell li").all_text_contents() == list(result.verdicts)
    assert page.locator(".tell .unsure").count() == sum("no difference" in each for each in result.verdicts)
    assert page.locator(".notes li").all_text_contents() == ["a note"]
    assert page.locator("#how pre").text_content() == "fanin compare mnist-fc --data mnist"


def test_tables_hold_the_numbers(opened: Open, path: Path, result: RaceResult) -> None:
    page = opened(path).page
    auto, native, flat = cells(page, "result")
    assert auto[:3] == ["auto", "0.1", f"{result.standings[0].steps_to_target:g}"]
    assert (native[0], flat[0]) == ("native", "<b>flat</b>")
    assert flat[2] == "not reached"
    assert flat[-1] == "8 of 8"
    tests = cells(page, "tests")
    assert len(tests) == 6
    first = result.comparisons[0]
    assert tests[0][1:] == ["auto", "native", f"{first.p:.2g}", f"{first.corrected:.2g}", "8 of 8 seeds", "1.00"]
    assert cells(page, "rates")[0] == ["auto", "1.2 → 0.9", "diverged"]


def test_a_start_can_be_left_out(opened: Open, path: Path) -> None:
    page = opened(path).page
    assert "auto" in page.inner_text("#curves .readout >> nth=1")
    before = inked(page, 1)
    page.locator("#curves label", has_text="auto").locator("input").uncheck()
    assert "auto" not in page.inner_text("#curves .readout >> nth=1")
    assert inked(page, 1) < before


def test_keys_move_through_the_steps(opened: Open, path: Path, result: RaceResult) -> None:
    page = opened(path).page
    slider = page.locator("#curves [role=slider]").nth(1)
    slider.focus()
    page.keyboard.press("Home")
    assert page.inner_text("#curves .readout >> nth=1").startswith("step 0 · auto 10")
    page.keyboard.press("ArrowRight")
    assert slider.get_attribute("aria-valuenow") == "5"
    assert slider.get_attribute("aria-valuetext").startswith("step 5: auto 20.")


def test_dark_and_narrow(opened: Open, path: Path) -> None:
    there = opened(path, viewport={"width": 420, "height": 800}, color_scheme="dark")
    assert there.said == []
    assert there.page.evaluate("document.documentElement.scrollWidth") <= 420
    there.page.click("#theme")
    assert all(inked(there.page, place) > 0.02 for place in (0, 1))


def test_names_cannot_run(path: Path) -> None:
    assert "<b>flat</b>" not in path.read_text(encoding="utf-8")
