"""Where a step's values come from, in a few words."""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import PurePath

from fanin.initializers import Constant, Initializer, Normal, TruncatedNormal, Uniform
from fanin.report.text import number
from fanin.steps import Action, Copy, Draw, Keep, Replay, Unknown


def action(what: Action) -> str:
    """The action of a step, short; a law's std is left to the column beside it.

    >>> from fanin.initializers import Uniform
    >>> action(Draw(Uniform(-0.5, 0.5))), action(Keep())
    ('uniform ±0.5', 'keep')
    """
    match what:
        case Draw(initializer):
            return law(initializer)
        case Replay(program):
            return f"replay {len(program)} call{'s' if len(program) > 1 else ''}"
        case Copy(source, key):
            return f"copy {key} of {PurePath(source).name}"
        case Keep():
            return "keep"
        case Unknown():
            return "unknown"


def law(initializer: Initializer) -> str:
    """The law without its std.

    >>> law(Normal(std=0.02)), law(Constant(0.0)), law(Normal(1.0, 0.02)), law(TruncatedNormal(std=0.02))
    ('normal', 'zeros', 'normal, mean 1', 'truncated normal ±2σ')
    """
    match initializer:
        case Constant(value):
            return {0.0: "zeros", 1.0: "ones"}.get(value, f"constant {number(value)}")
        case Normal(mean, _):
            return "normal" + _mean(mean)
        case Uniform(low, high):
            return f"uniform {_interval(low, high, '')}"
        case TruncatedNormal(mean, _, lower, upper, _):
            return f"truncated normal {_interval(lower, upper, 'σ')}" + _mean(mean)
        case _:
            return _generic(initializer)


def _mean(mean: float) -> str:
    return f", mean {number(mean)}" if mean else ""


def _interval(low: float, high: float, unit: str) -> str:
    return f"±{number(high)}{unit}" if low == -high else f"{number(low)}{unit} … {number(high)}{unit}"


def _generic(initializer: Initializer) -> str:
    """The law's name in words and those of its numbers that are not the defaults."""
    words = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in type(initializer).__name__)
    defaults = {entry.name: entry.default for entry in fields(initializer)}
    told = {name: value for name, value in asdict(initializer).items() if value != defaults[name]}
    numbers = [f"{name} {number(value)}" for name, value in told.items() if isinstance(value, (int, float))]
    return ", ".join([words.strip(), *numbers])
