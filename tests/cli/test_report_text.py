"""Numbers, shapes and names as a person reads them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanin.initializers import Constant, Normal, Orthogonal, TruncatedNormal, Uniform
from fanin.report import text
from fanin.report.laws import action, law
from fanin.steps import Copy, Keep, Replay, Unknown


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


@pytest.mark.parametrize(
    ("initializer", "shown"),
    [
        (Constant(0.0), "zeros"),
        (Constant(1.0), "ones"),
        (Constant(-2.5), "constant -2.5"),
        (Normal(std=0.02), "normal"),
        (Normal(1.0, 0.02), "normal, mean 1"),
        (Uniform(-0.25, 0.25), "uniform ±0.25"),
        (Uniform(0.0, 1.0), "uniform 0 … 1"),
        (TruncatedNormal(std=0.02), "truncated normal ±2σ"),
        (TruncatedNormal(std=0.02, lower=-1.0, upper=3.0), "truncated normal -1σ … 3σ"),
        (Orthogonal(), "orthogonal"),
        (Orthogonal(gain=1.5), "orthogonal, gain 1.5"),
    ],
)
def test_laws_in_words(initializer, shown: str) -> None:
    assert law(initializer) == shown


def test_actions_in_words() -> None:
    shown = [
        action(what) for what in (Keep(), Unknown(), Copy("some/where/a.gguf", "fc1"), Replay((1,)), Replay((1, 2)))
    ]
    assert shown == ["keep", "unknown", "copy fc1 of a.gguf", "replay 1 call", "replay 2 calls"]
