"""Rejection loops, recognised by the question they ask: "is any value still outside?".

Answered no, their values are the parent's draws given that they lie within: the truncated law, exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from fanin.initializers import Initializer, Normal, TruncatedNormal, Uniform
from fanin.torch.capture.laws import law_of
from fanin.torch.capture.records import Call, Made, View, Written, history, made_by, same
from fanin.torch.capture.values import Values


@dataclass(frozen=True, slots=True, eq=False)
class Rejection:
    """The tensor that a loop filled, and its law at the end."""

    view: View
    law: Initializer


def rejection(question: Any, values: Values) -> Rejection | None:
    """The loop that asks `question`, if it is one: `any(x < low or x > high)` or an acceptance test of densities."""
    if not made_by(question, "any"):
        return None
    outside = _call(question).args[0]
    return _by_bounds(outside, values) or _by_density(outside, values)


def _by_bounds(outside: Any, values: Values) -> Rejection | None:
    """`(x < low) | (x > high)` on a normal or uniform x."""
    if made_by(outside, "bitwise_or", "logical_or", "__or__"):
        first, second = (_bound(side, values) for side in _call(outside).args[:2])
        if first is None or second is None or not same(first[0], second[0]):
            return None
        low, high = (first[1], second[2]) if second[2] is not None else (second[1], first[2])
    else:
        found = _magnitude(outside, values)
        if found is None:
            return None
        first, low, high = (found[0],), -found[1], found[1]
    view = first[0]
    law = law_of(view, values)
    if low is None or high is None or not low < high:
        return None
    if isinstance(law, Normal) and law.std > 0:
        return Rejection(view, TruncatedNormal.absolute(law.mean, law.std, low, high))
    if isinstance(law, Uniform):
        return Rejection(view, Uniform(max(law.low, low), min(law.high, high)))
    return None


def _bound(side: Any, values: Values) -> tuple[View, float | None, float | None] | None:
    """(x, low, None) of `x < low`, (x, None, high) of `x > high`."""
    if not made_by(side, "lt", "le", "gt", "ge"):
        return None
    call = _call(side)
    number = values.scalar(call.args[1])
    if number is None:
        return None
    return (call.args[0], number, None) if call.name[0] == "l" else (call.args[0], None, number)


def _magnitude(outside: Any, values: Values) -> tuple[View, float] | None:
    """(x, bound) of `|x| > bound`."""
    found = _bound(outside, values)
    if found is None or found[2] is None or not made_by(found[0], "abs"):
        return None
    return _call(found[0]).args[0], found[2]


def _by_density(pending: Any, values: Values) -> Rejection | None:
    """`log U > −((x − mean)/std)²/2 − peak` with x uniform: the loop of `torch.nn.init.trunc_normal_` far out."""
    if not made_by(pending, "gt"):
        return None
    chance, density = _call(pending).args
    if not _is_log_uniform(chance, values) or not isinstance(density, View):
        return None
    steps = [state for state in history(density.state) if isinstance(state, Written)]
    if [step.call.name for step in steps] != ["copy_", "sub_", "div_", "pow_", "mul_", "sub_"]:
        return None
    proposal = steps[0].call.args[1]
    mean, std, power, factor = (values.scalar(step.call.args[1]) for step in steps[1:5])
    law = law_of(proposal, values)
    if not isinstance(law, Uniform) or mean is None or not std or (power, factor) != (2, -0.5):
        return None
    return Rejection(proposal, TruncatedNormal.absolute(mean, std, law.low, law.high))


def _is_log_uniform(chance: Any, values: Values) -> bool:
    if not isinstance(chance, View) or not isinstance(chance.state, Written) or chance.state.before is None:
        return False
    drawn = View(chance.state.before, chance.geometry)
    return chance.state.call.name == "log_" and law_of(drawn, values) == Uniform(0.0, 1.0)


def _call(view: View) -> Call:
    return cast(Made, view.state).call
