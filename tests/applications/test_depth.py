"""100 plain layers, reduced: torch's default stays at chance, auto and delta-orthogonal train."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


def test_plain_networks_of_a_hundred_layers_train_where_the_default_does_not(
    quick: Callable[..., dict[str, Any]],
) -> None:
    pytest.importorskip("mlxtend")
    found = quick("depth")
    assert [claim["text"] for claim in found["claims"] if not claim["reached"]] == []
    assert len(found["claims"]) == 4
    shown = {(row["network"], row["start"]): float(row["test accuracy"].rstrip("%")) for row in found["table"]}
    assert len(shown) == 12
    assert all((accuracy < 13) == (start == "native") for (_, start), accuracy in shown.items())
    assert all(accuracy > 50 for (_, start), accuracy in shown.items() if start != "native")
