"""muP: the best rate stays where it is while the width grows; without it, it does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def test_mup_transfer(quick: Callable[..., dict[str, Any]]) -> None:
    found = quick("mup_transfer")
    assert found["reached"], found["claims"]
    losses, best = found["numbers"]["losses"], found["numbers"]["log2_best_rate"]
    assert losses["standard"]["32"] == losses["muP"]["32"]  # at the base nothing changes
    assert best["standard"]["128"] < best["standard"]["32"]
    carried = "loss at the best rate of width 32"
    standard, mup = (next(row for row in found["table"] if row["width"] == 128 and row["parametrization"] == scheme)
                     for scheme in ("standard", "muP"))  # fmt: skip
    assert standard[carried] > standard["loss there"] + 0.2
    assert mup[carried] < mup["loss there"] + 0.1


def test_claims_say_what_moved(load: Callable[[str], Any]) -> None:
    script = load("mup_transfer")

    def reached(standard: int, mup: int) -> list[bool]:
        best = {"standard": {32: -5, 128: standard}, "muP": {32: -5, 128: mup}}
        return [claim.reached for claim in script.claims_of(script.QUICK, best)]

    assert reached(-7, -6) == [True, True]
    assert reached(-6, -5) == [True, False]
    assert reached(-8, -7) == [False, True]
    assert reached(-3, -3) == [False, True]
