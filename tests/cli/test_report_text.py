"""Numbers, shapes and names as a person reads them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanin.report import text


@pytest.mark.parametrize(
    ("octets", "shown"),
    [
        (None, ""),
        (0, "0 B"),
        (1023, "1,023 B"),
        (1024, "1 KiB"),
        (36_392, "35.54 KiB"),
        (2**20 - 1, "1 MiB"),
    ],
)
def test_sizes(octets: float | None, shown: str) -> None:
    assert text.size(octets) == shown


@given(st.text(min_size=1, max_size=80), st.integers(4, 60))
def test_elided_names_fit_and_keep_both_ends(name: str, width: int) -> None:
    short = text.elide(name, width)
    assert len(short) <= width
    assert (short == name) == (len(name) <= width)
    if len(name) > width:
        assert short[0] == name[0]
        assert short[-1] == name[-1]
