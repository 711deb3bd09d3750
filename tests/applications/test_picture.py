"""The application `picture` in its reduced form: SIREN's own start and `auto` fit a picture, the default does not."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("PIL")


def test_the_claims_hold_in_the_reduced_form(quick) -> None:
    found = quick("picture")
    assert found["reached"]
    finals = {start["start"]: [] for start in found["table"]}
    for run in found["numbers"]["race"]["runs"]:
        finals[run["start"]].append(run["scores"][-1])
    assert max(finals["siren"] + finals["auto"]) < 2 / 10**1.5  # 30 dB
    assert min(finals["native"]) > 2 / 10**0.75  # 15 dB


def test_psnr(load) -> None:
    picture = load("picture")
    assert picture.psnr(2.0) == 0
    assert picture.psnr(0.2) == pytest.approx(20)
    assert picture.psnr(float("inf")) == -np.inf


def test_pictures_come_out_as_rows_of_pixels(load) -> None:
    assert load("picture")._square(np.arange(9.0).reshape(9, 1)).tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
