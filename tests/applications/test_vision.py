"""ResNet-56 without normalisation, reduced: He's start fails, auto and Fixup train."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fanin.data import known


def test_without_normalisation_he_fails_and_auto_trains(quick: Callable[..., dict[str, Any]]) -> None:
    missing = known("fashion-mnist").missing()
    if missing:
        pytest.skip(missing)
    found = quick("vision")
    assert [claim["text"] for claim in found["claims"] if not claim["reached"]] == []
    assert len(found["claims"]) == 3
    accuracy = {row["start"]: float(row["test accuracy"].rstrip("%")) for row in found["table"]}
    assert accuracy["He"] < 15 < accuracy["Fixup"]
    assert accuracy["auto"] > max(30, accuracy["native"])
    assert accuracy["He with batch norm"] > 30
