"""The application `transfer` in its reduced form: a pretrained network needs fewer samples than a fresh one."""

from __future__ import annotations

import numpy as np
import pytest

from fanin.data import load as data_of

pytest.importorskip("mlxtend")


def test_the_claims_hold_in_the_reduced_form(quick) -> None:
    found = quick("transfer")
    assert [claim["text"] for claim in found["claims"] if not claim["reached"]] == []
    (race,) = found["numbers"]["races"].values()
    finals = {start: [r["scores"][-1] for r in race["runs"] if r["start"] == start] for start in ("fine-tuned", "auto")}
    assert np.mean(finals["fine-tuned"]) > np.mean(finals["auto"])
    assert min(found["numbers"]["accuracy on 0–4"]) > 0.9
    first = [run["test_losses"][0] for run in race["runs"] if run["start"] == "fine-tuned"]
    assert first == pytest.approx([np.log(5)] * len(first), abs=1e-4)  # the new head is zero


def test_tasks_share_no_digit_and_few_are_balanced(load) -> None:
    transfer = load("transfer")
    digits = data_of("mnist,size=14")
    old, new = transfer.only(digits, transfer.OLD), transfer.only(digits, transfer.NEW)
    assert (len(old.train), len(new.train), len(new.test)) == (2000, 2000, 500)
    assert set(new.train.targets) == set(old.train.targets) == set(range(5))
    pixels = {row.tobytes() for row in old.train.inputs}
    assert not any(row.tobytes() in pixels for row in new.train.inputs)
    few = transfer.few(new, 3)
    assert np.bincount(few.train.targets).tolist() == [3] * 5
    assert len(few.test) == 500
