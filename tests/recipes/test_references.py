"""Every number of docs/recipes/references.toml, planned on the real model and compared."""

from __future__ import annotations

import tomllib
from functools import cache
from math import exp, expm1, log
from pathlib import Path

import numpy as np
import pytest

import fanin
from fanin.initializers import Blocks, Constant, Cycle, Mapped, Negated, Normal, Ramp, TruncatedNormal, Uniform
from fanin.random import Region, Stream
from fanin.recipes import names

PATH = Path(__file__).parents[2] / "docs" / "recipes" / "references.toml"
REFERENCES = tomllib.loads(PATH.read_text(encoding="utf-8"))["reference"]
NUMBERS = {"std", "mean", "low", "high", "value", "law"}
KEYS = {"recipe", "model", "tensor", "part", "formula", "source"} | NUMBERS
# The laws of any model's own code are no recipe's numbers.
WITHOUT_NUMBERS = {"native"}
FUNCTIONS = {"log": log, "exp": exp, "inverse_softplus": lambda y: log(expm1(y))}


@cache
def captured(model):
    return fanin.capture(fanin.models.factory(model))


@cache
def planned(model, recipe):
    return fanin.plan(captured(model), recipe)


def extremes(law, shape):
    """The least and the greatest value that a law can give."""
    match law:
        case Constant(value):
            return value, value
        case Uniform(low, high):
            return low, high
        case TruncatedNormal():
            mean, std = law.parent
            return mean + law.lower * std, mean + law.upper * std
        case Ramp() | Cycle() | Mapped(Ramp() | Cycle()):
            values = np.empty(shape)
            law.fill(values, Stream(0), Region.whole(shape))
            return values.min(), values.max()
        case Mapped(Uniform(low, high), functions):
            for name in functions:
                low, high = FUNCTIONS[name](low), FUNCTIONS[name](high)
            return low, high
        case Negated(of):
            low, high = extremes(of, shape)
            return -high, -low
        case Blocks(base, parts):
            ends = [extremes(base, shape), *(extremes(inner, size) for _, size, inner in parts)]
            return min(low for low, _ in ends), max(high for _, high in ends)
        case Normal():
            return -np.inf, np.inf
    raise AssertionError(f"no extremes of {law.describe()}")


def test_every_entry_is_complete():
    for entry in REFERENCES:
        assert set(entry) <= KEYS, entry
        assert {"recipe", "model", "tensor", "formula", "source"} <= set(entry), entry
        assert NUMBERS & set(entry), entry


@pytest.mark.parametrize("entry", REFERENCES, ids=lambda each: f"{each['recipe']}-{each['tensor']}")
def test_a_plan_says_what_the_source_says(entry):
    step = planned(entry["model"], entry["recipe"])[entry["tensor"]]
    law = step.initializer
    assert law is not None, f"{step.name} is not drawn: {step.why}"
    mean, std = law.moments(step.shape)
    seen = {"mean": mean, "std": std}
    if "law" in entry:
        assert type(law).__name__ == entry["law"], law.describe()
    if {"low", "high"} & set(entry):
        seen["low"], seen["high"] = extremes(law, step.shape)
    if "value" in entry:
        assert isinstance(law, Constant), law.describe()
        seen["value"] = law.value
    expected = {key: entry[key] for key in (NUMBERS - {"law"}) & set(entry)}
    assert {key: seen[key] for key in expected} == pytest.approx(expected, rel=1e-6, abs=1e-9), step.why


@pytest.mark.parametrize("name", sorted({*names()} - WITHOUT_NUMBERS))
def test_every_recipe_has_reference_numbers(name):
    assert any(entry["recipe"].split(",")[0] == name for entry in REFERENCES), f"add numbers of {name} to {PATH.name}"
