"""Laws under arithmetic: what a·X + b follows when X follows a law."""

from __future__ import annotations

from dataclasses import replace
from math import inf, isclose, sqrt
from statistics import NormalDist
from typing import Any

import torch

from fanin.initializers import Constant, Initializer, Normal, Orthogonal, TruncatedNormal, Uniform
from fanin.torch.capture.records import Call, Target, View
from fanin.torch.capture.values import Values

FREE = (Constant, Normal, Uniform, TruncatedNormal)
"""Laws of independent values: any part, in any order, follows them too."""

_FAR = 100.0  # sigmas that no float reaches


def transformed(law: Initializer, call: Call, dtype: torch.dtype, values: Values) -> Initializer | None:
    """The law of the result of an elementwise `call` on values of `law`; None where fanin has no name for it."""
    if isinstance(law, Constant):
        return _constant(law, call, dtype, values)
    match call.name.removesuffix("_"):
        case "mul" | "div" | "add" | "sub" | "neg" | "rsub":
            found = _line(call, values)
            return None if found is None else affine(law, *found)
        case "erfinv":
            return _erfinv(law)
        case "clamp":
            return _clamped(law, call)
        case _:
            return None


def affine(law: Initializer, scale: float, shift: float) -> Initializer | None:
    """The law of scale·X + shift.

    >>> affine(Uniform(0.0, 1.0), 2.0, -1.0)
    Uniform(low=-1.0, high=1.0)
    """
    match law:
        case Normal(mean, std):
            return Normal(scale * mean + shift, abs(scale) * std)
        case Uniform(low, high):
            ends = sorted((scale * low + shift, scale * high + shift))
            return Uniform(*ends)
        case TruncatedNormal(mean, std, lower, upper, corrected):
            bounds = (lower, upper) if scale >= 0 else (-upper, -lower)
            return TruncatedNormal(scale * mean + shift, abs(scale) * std, *bounds, corrected)
        case Orthogonal(gain) if shift == 0:
            return replace(law, gain=gain * abs(scale))
        case _:
            return law if (scale, shift) == (1.0, 0.0) else None


def _line(call: Call, values: Values) -> tuple[float, float] | None:
    """(scale, shift) of the call as a function of its random operand."""
    name = call.name.removesuffix("_")
    if name == "neg":
        return -1.0, 0.0
    first, second = call.args[0], call.args[1]
    number, behind = values.scalar(second), True
    if number is None:
        number, behind = values.scalar(first), False
    if number is None:
        return None
    step = number * (call.argument("alpha", 1) if behind else 1)
    match name:
        case "mul":
            return number, 0.0
        case "div":
            return (1 / number, 0.0) if behind and number else None
        case "add":
            return (1.0, step) if behind or call.argument("alpha", 1) == 1 else None
        case "rsub":
            return (-1.0, number) if call.argument("alpha", 1) == 1 else None
        case _:
            return (1.0, -step) if behind else (-call.argument("alpha", 1), number)


def _constant(law: Constant, call: Call, dtype: torch.dtype, values: Values) -> Constant | None:
    """The constant, computed by the same operator in the same dtype, so that it rounds alike."""
    operands = _operands(call, values)
    if any(operand is None for operand in operands) or len(call.op._schema.returns) != 1:
        return None
    name = call.name.removesuffix("_")
    if name not in (
        "mul",
        "div",
        "add",
        "sub",
        "neg",
        "rsub",
        "log",
        "exp",
        "sqrt",
        "pow",
        "reciprocal",
        "log1p",
        "expm1",
    ):
        return None
    function = getattr(torch.ops.aten, name)
    blank = torch.tensor(law.value, dtype=_dtype_of(call, dtype), device="cpu")
    named = {key: value for key, value in call.kwargs.items() if key == "alpha"}
    result = function(*(blank if operand is _SELF else operand for operand in operands), **named).to(dtype).item()
    return Constant(result) if result == result else None


_SELF = object()


def _operands(call: Call, values: Values) -> list[Any]:
    """The arguments as numbers, `_SELF` for the operand that the law is of; None where one is unknown."""
    itself = _itself(call)
    return [_SELF if at == itself else _number(argument, values) for at, argument in enumerate(call.args)]


def _itself(call: Call) -> int:
    """Position of the operand that the law is of: the written one, else the first that is no number."""
    tensors = [at for at, argument in enumerate(call.args) if isinstance(argument, (View, Target))]
    written = [at for at in tensors if isinstance(call.args[at], Target)]
    several = [at for at in tensors if call.args[at].geometry.numel > 1]
    return (*written, *several, *tensors)[0]


def _number(argument: Any, values: Values) -> Any:
    return values.scalar(argument) if isinstance(argument, View) else argument


def _dtype_of(call: Call, dtype: torch.dtype) -> torch.dtype:
    operand = next(call.views(), None)
    return dtype if operand is None else operand.geometry.dtype


def _erfinv(law: Initializer) -> TruncatedNormal | None:
    """erfinv(U) of a uniform U within (−1, 1) is a truncated N(0, 1/2): the classic way to draw one."""
    if not isinstance(law, Uniform) or not -1 <= law.low < law.high <= 1:
        return None
    normal = NormalDist()
    lower = normal.inv_cdf((1 + law.low) / 2) if law.low > -1 else -_FAR
    upper = normal.inv_cdf((1 + law.high) / 2) if law.high < 1 else _FAR
    return TruncatedNormal(0.0, sqrt(0.5), lower, upper, corrected=False)


def _clamped(law: Initializer, call: Call) -> Initializer | None:
    """The law itself where it lies within the bounds already (but for rounding)."""
    low, high = call.argument("min"), call.argument("max")
    if isinstance(low, View) or isinstance(high, View):
        return None
    low, high = -inf if low is None else low, inf if high is None else high
    match law:
        case Uniform(first, last):
            ends = first, last
        case TruncatedNormal(mean, std, lower, upper, False):
            ends = mean + std * max(lower, -_FAR / 10), mean + std * min(upper, _FAR / 10)
        case _:
            return None
    below = ends[0] >= low or isclose(ends[0], low, rel_tol=1e-5)
    return law if below and (ends[1] <= high or isclose(ends[1], high, rel_tol=1e-5)) else None
