"""How far the first step of an optimizer moves each parameter, and findings where that is too far or nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import sqrt
from typing import Literal

from fanin.checking.findings import Finding
from fanin.checking.parameters import ParameterReport, UpdateRatio
from fanin.plans import Plan
from fanin.torch.probe import ParameterProbe

Optimizer = Literal["adam", "sgd"]
LEARNING_RATE = 1e-3
_LARGE = 0.3
# Half a unit in the last place of 1: what is added below it is rounded away.
_ROUNDING = {"float32": 2.0**-24, "float64": 2.0**-53, "bfloat16": 2.0**-9, "float16": 2.0**-12}


def parameter_report(seen: ParameterProbe, plan: Plan | None, lr: float) -> ParameterReport:
    """The record of one parameter."""
    step = None if plan is None else plan[seen.name]
    values, gradient = seen.values, seen.gradient
    pull = None if gradient is None else sqrt(gradient.second)
    return ParameterReport(
        seen.name,
        seen.shape,
        seen.dtype,
        None if step is None else step.role or None,
        seen.trainable,
        values.mean,
        values.std,
        values.max_abs,
        values.non_finite,
        values.spread,
        None if step is None else step.std,
        pull,
        _ratio(sqrt(values.second), pull, lr),
    )


def _ratio(size: float, pull: float | None, lr: float) -> UpdateRatio | None:
    if pull is None or not size:
        return None
    return UpdateRatio(lr, lr * pull / size, lr / size if pull else 0.0)


def of_updates(parameters: Sequence[ParameterReport], lr: float, optimizer: Optimizer) -> Iterator[Finding]:
    """The matrices that a first step at the learning rate `lr` would overwrite, or not change at all."""
    moved = [(p, ratio) for p in parameters if (ratio := _of(p, optimizer)) and len(p.shape) > 1]
    large = [(p, ratio) for p, ratio in moved if ratio > _LARGE]
    lost = [(p, ratio) for p, ratio in moved if ratio < _ROUNDING.get(p.dtype, 0.0)]
    name = {"adam": "Adam", "sgd": "SGD"}[optimizer]
    if large:
        worst, ratio = max(large, key=lambda pair: pair[1])
        yield Finding(
            "update-too-large",
            "warning",
            worst.name,
            f"{name}'s first step at a learning rate of {lr:g} changes it by {ratio:.2g} of its size{_more(large)}",
            f"less than {_LARGE:g}, usually about 0.001",
            "the learning rate is large for weights this small, or the gradient for SGD: the step undoes the "
            "initialization",
            f"lr = {lr * 1e-2 / ratio:.1g}  # or a warm-up",
        )
    if lost:
        worst, ratio = min(lost, key=lambda pair: pair[1])
        yield Finding(
            "update-lost",
            "warning",
            worst.name,
            f"{name}'s first step at a learning rate of {lr:g} changes it by {ratio:.2g} of its size{_more(lost)}",
            f"more than half a unit in the last place of {worst.dtype}, {_ROUNDING[worst.dtype]:.2g}",
            "most of such a step is rounded away when it is added to the weights",
            "model.float()  # keep the weights that the optimizer changes in float32, or raise the learning rate",
        )


def _of(parameter: ParameterReport, optimizer: Optimizer) -> float | None:
    ratio = parameter.update_ratio
    if ratio is None:
        return None
    return ratio.adam if optimizer == "adam" else ratio.sgd


def _more(found: Sequence[object]) -> str:
    return f" (and {len(found) - 1} more)" if len(found) > 1 else ""
