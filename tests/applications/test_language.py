"""The small GPT: every published start and `auto` get to where torch's own start ends, sooner."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def test_language(quick: Callable[..., dict[str, Any]]) -> None:
    found = quick("language")
    assert found["reached"], found["claims"]
    rows = {row["start"]: row for row in found["table"]}
    assert rows["native"]["first loss"] > 2 * rows["gpt2"]["first loss"]  # logits of variance 32, not of 1
    assert float(rows["native"]["steps to the last loss of native"]) == 80
    for start in ("gpt2", "small-init", "auto"):
        assert rows[start]["last loss"] < rows["native"]["last loss"]


def test_a_start_that_is_no_sooner_is_told(load: Callable[[str], Any]) -> None:
    language = load("language")
    from fanin.race import RaceResult, Run, Settings

    def run(start: str, *losses: float) -> Run:
        return Run(start, 0, 0.1, (1.0,) * 4, (0, 2, 4), losses, (0.0, 0.0, 0.0))

    runs = (run("native", 5.0, 3.0, 2.0), run("gpt2", 4.0, 3.0, 2.0), run("auto", 4.0, 1.0, 9.0), run("he", 4, 4, 4))
    claims = language.claims_of(RaceResult("m", Settings(steps=4), runs, seeds=(0,)))
    assert [claim.reached for claim in claims] == [False, True, False]
    assert [claim.measured.split(" of")[0] for claim in claims] == ["4", "2", "inf"]
