"""Where a parametrized model starts: the laws of its tensors, and by how much standard values are multiplied."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

from fanin.errors import ArgumentError
from fanin.initializers import Blocks, Constant, Initializer
from fanin.parametrizations.base import Base
from fanin.parametrizations.dims import Dims, Factors
from fanin.parametrizations.laws import Sized, each, ratios, times, unit
from fanin.parametrizations.schemes import Scheme
from fanin.parametrizations.seen import Seen
from fanin.plans import Plan
from fanin.plans.steps import Draw, Replay, Step
from fanin.random.part import Part
from fanin.text_table import number, shortened

_LISTED = 3
Zeros = Mapping[str, tuple[Part, ...]]
"""Tensors that start at zero, with the parts of packed ones that do (none for the whole)."""


@dataclass(frozen=True, slots=True)
class Starts:
    """Where a parametrized model starts.

    Attributes:
        plan: the law of each tensor.
        factors: what values in standard parametrization are multiplied by, by name; 1 is left out, and None stands for
            packed tensors whose parts have different ones.
        zeros: what starts at zero.
    """

    plan: Plan
    factors: Mapping[str, float | None]
    zeros: Zeros


def starts(
    here: Seen, base: Base, dims: Mapping[str, Dims], factors: Mapping[str, Factors], zeros: Zeros, scheme: Scheme
) -> Starts:
    """The laws of a parametrized model.

    Raises:
        ArgumentError: nobody knows how the values of a tensor depend on the width.
    """
    steps = {step.name: step for step in here.plan.values()}
    changed: dict[str, float | None] = {}
    unknown: list[str] = []
    for step in here.parameters:
        factor, kind = factors[step.name].init, dims[step.name].kind
        grows = kind != "fixed" or base.shapes[step.name] != step.shape
        if step.initializer is None or (scheme.relative and step.name not in base.laws):
            unknown += [step.name] if (grows or factor != 1.0) and not isinstance(step.action, Replay) else []
        elif not scheme.relative:
            law = _absolute(step.initializer, dims[step.name], factor, here.role(step.name))
            steps[step.name] = replace(step, action=Draw(law), why=f"{scheme.name}: {kind}", source=scheme.source)
        else:
            wide = ratios(Sized(step.initializer, step.shape), base.laws[step.name])
            by = [1.0 if ratio is None else ratio * factor for ratio in wide]
            if any(change != 1.0 for change in by):
                steps[step.name] = _scaled(step, by, kind, scheme)
                random = {change for change, ratio in zip(by, wide, strict=True) if ratio is not None}
                changed[step.name] = random.pop() if len(random) == 1 else None
    if unknown:
        raise ArgumentError(
            f"nobody knows how the values of {shortened(unknown, _LISTED)} depend on the width: capture the model "
            "(fanin.capture), and give base= a function that makes the base"
        )
    steps |= {name: _zeroed(steps[name], parts) for name, parts in zeros.items()}
    notes = (*here.plan.notes, f"parametrization {scheme.name}: {scheme.title}")
    return Starts(replace(here.plan, steps=tuple(steps.values()), notes=notes), changed, zeros)


def _scaled(step: Step, by: list[float], kind: str, scheme: Scheme) -> Step:
    law = step.initializer
    if law is None:
        return step
    shown = " and ".join(dict.fromkeys(map(number, by)))
    why = f"{step.why}; {scheme.name}, {kind}: std × {shown}"
    return replace(step, action=Draw(each(law, partial(_times, by))), why=why, source=scheme.source)


def _times(by: list[float], law: Initializer, part: int) -> Initializer:
    return times(law, by[part] if len(by) > 1 else by[0])


def _absolute(law: Initializer, dims: Dims, factor: float, role: str) -> Initializer:
    if role == "bias":
        return Constant(0.0)
    return each(unit(law), partial(_times, [factor])) if dims.kind not in ("vector", "fixed") else law


def _zeroed(step: Step, parts: tuple[Part, ...]) -> Step:
    law: Initializer = Constant(0.0)
    if parts and step.initializer is not None:
        combs = [(part.start, part.size, law, *((part.stride, part.count) if part.count else ())) for part in parts]
        law = Blocks(step.initializer, parts=tuple(combs))  # pyright: ignore[reportArgumentType]
    return replace(step, action=Draw(law), why=f"{step.why}; starts at zero" if parts else "starts at zero")
