"""From a model and its base to what a parametrization sees of each tensor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod

from fanin.axes import Axes
from fanin.errors import ArgumentError
from fanin.parametrizations.base import Base
from fanin.parametrizations.dims import Dims, Kind
from fanin.parametrizations.growing import Growing
from fanin.parametrizations.seen import Seen
from fanin.plans.steps import Step

# Looked up, or added to or put beside a signal as they are.
_TABLES = ("embedding", "position", "token")


def grown(model: Seen, base: Base) -> Growing:
    """The dimensions that are longer than in the base."""
    return {
        step.name: tuple(size != small for size, small in zip(step.shape, base.shapes[step.name], strict=True))
        for step in model.parameters
    }


def dims_of(model: Seen, base: Base, grows: Growing) -> dict[str, Dims]:
    """What is known of each parameter.

    Raises:
        ArgumentError: two dimensions of a tensor grow, and no operation says which are its inputs.
    """
    layers = base.layers
    found: dict[str, Dims] = {}
    for step in model.parameters:
        place = model.place(step.name)
        dims = _dims(model, step, base.shapes[step.name], grows[step.name])
        if place.stack in layers and place.layers:
            inside = {"layers": place.layers, "branches": place.branches or _branches(model, place.stack)}
            dims = replace(dims, depth=place.layers / layers[place.stack], **inside)
        found[step.name] = dims
    return found


def _dims(model: Seen, step: Step, small: tuple[int, ...], grows: tuple[bool, ...]) -> Dims:
    use = model.contraction(step.name)
    wider = [size / base for size, base in zip(step.shape, small, strict=True)]
    if use is not None and use.axes is not None and len(use.axes.shape) == len(step.shape):
        axes = use.axes
        here, there = _stored(axes, step.shape), _stored(axes, small)
        return Dims(
            _kind(any(grows[axis] for axis in axes.inputs), any(grows[axis] for axis in axes.outputs)),
            prod(wider[axis] for axis in axes.inputs),
            prod(wider[axis] for axis in axes.outputs),
            *(here.fans if not use.parts else (here.fan_in, axes.fan_out)),
            *(
                there.fans
                if not use.parts
                else (there.fan_in, axes.fan_out / prod(wider[axis] for axis in axes.outputs))
            ),
        )
    if sum(grows) > 1:
        raise ArgumentError(
            f"{sum(grows)} dimensions of {step.name} {step.shape} grow with the width, and no operation says which of "
            "them it sums over: give inputs= that reach it"
        )
    kind: Kind = "fixed" if not any(grows) else "table" if model.role(step.name) in _TABLES else "vector"
    width = float(prod(size for size, is_width in zip(step.shape, grows, strict=True) if is_width))
    base_width = float(prod(size for size, is_width in zip(small, grows, strict=True) if is_width))
    return Dims(kind, 1.0, width / base_width, 1.0, width, 1.0, base_width)


def _stored(axes: Axes, shape: tuple[int, ...]) -> Axes:
    """The axes of the whole tensor, where those of a block are known."""
    groups = axes.groups if all(shape[axis] % axes.groups == 0 for axis in (*axes.outputs, *axes.inputs)) else 1
    return replace(axes, shape=shape, groups=groups)


def _kind(reads: bool, makes: bool) -> Kind:
    return ("hidden" if makes else "output") if reads else "input" if makes else "fixed"


def _branches(model: Seen, stack: str) -> int:
    return max((place.branches for place in model.graph.places.values() if place.stack == stack), default=0)


def readouts(model: Seen, dims: Mapping[str, Dims]) -> tuple[str, ...]:
    """The weights that make the model's outputs: heads whose inputs grow, and tables that are heads too."""
    tied = [
        name
        for name, each in dims.items()
        if each.kind == "table" and any(use.op == "linear" for use in model.uses.get(name, ()))
    ]
    return (*tied, *(name for name, each in dims.items() if each.kind == "output" and model.role(name) == "head"))
