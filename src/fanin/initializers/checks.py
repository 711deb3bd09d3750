"""Checks shared by the constructors of initializers."""

from __future__ import annotations

from math import isfinite
from numbers import Real
from typing import Any

from fanin.errors import ArgumentError


def finite(what: str, name: str, value: Any) -> float:
    """`value` as a Python float.

    Raises:
        ArgumentError: not a finite real number.
    """
    if type(value) is float and isfinite(value):
        return value
    if not isinstance(value, Real) or not isfinite(value):
        raise ArgumentError(f"{what}: {name} must be a finite number, got {value!r}")
    return float(value)


def as_floats(law: Any, *names: str) -> None:
    """Turn the named fields of a frozen `law` into Python floats, so that equal laws have equal JSON."""
    for name in names:
        object.__setattr__(law, name, finite(type(law).__name__, name, getattr(law, name)))


def as_scale(law: Any, name: str) -> None:
    """`as_floats` for a standard deviation: also not negative."""
    as_floats(law, name)
    if getattr(law, name) < 0:
        raise ArgumentError(f"{type(law).__name__}: {name} must not be negative, got {getattr(law, name)}")


def as_ordered(law: Any, low: str, high: str, *, strict: bool = False) -> None:
    """`as_floats` for two bounds: also in order, and different where `strict`."""
    as_floats(law, low, high)
    a, b = getattr(law, low), getattr(law, high)
    if a > b or (strict and a == b):
        raise ArgumentError(
            f"{type(law).__name__}: {low} must be {'below' if strict else 'at most'} {high}, got {a} and {b}"
        )


def as_axes(law: Any, *names: str) -> None:
    """Turn the named fields into tuples of different non-negative ints, different also across the fields."""
    for name in names:
        object.__setattr__(law, name, tuple(getattr(law, name)))
    named = [axis for name in names for axis in getattr(law, name)]
    if any(type(axis) is not int or axis < 0 for axis in named) or len(set(named)) != len(named):
        seen = ", ".join(f"{name}={getattr(law, name)}" for name in names)
        raise ArgumentError(f"{type(law).__name__}: dimensions must be different whole numbers from 0, got {seen}")


def as_groups(law: Any) -> None:
    """Check that the field `groups` is a whole number from 1, and `grouped` (if the law has it) one from 0."""
    if type(law.groups) is not int or law.groups < 1:
        raise ArgumentError(f"{type(law).__name__}: groups must be a whole number from 1, got {law.groups!r}")
    grouped = getattr(law, "grouped", 0)
    if type(grouped) is not int or grouped < 0:
        raise ArgumentError(f"{type(law).__name__}: grouped must be a dimension from 0, got {grouped!r}")
