"""The base: the size at which a parametrization is the standard one."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log, sqrt
from typing import Any

from torch import nn

from fanin.errors import ArgumentError
from fanin.graph import Use
from fanin.parametrizations.growing import Growing
from fanin.parametrizations.laws import Sized
from fanin.parametrizations.seen import Seen
from fanin.torch.native import native_at

_NUMBER = re.compile(r"(?<=\.)\d+(?=\.)|^\d+(?=\.)")


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """One attention head: its size, and `Use.scores` of its queries."""

    size: float
    scores: float


@dataclass(frozen=True, slots=True, eq=False)
class Base:
    """What is known of the base, by the names of the model.

    Attributes:
        shapes: of each parameter.
        laws: standard laws at the base, where they are known.
        layers: layers of each stack.
        heads: of the attention whose queries a parameter makes.
        width: the number that users call the width; None where a model is the base.
        notes: what was assumed.
    """

    shapes: Mapping[str, tuple[int, ...]]
    laws: Mapping[str, Sized]
    layers: Mapping[str, int]
    heads: Mapping[str, Head]
    width: int | None = None
    notes: tuple[str, ...] = ()


def itself(model: Seen) -> Base:
    """The model as its own base."""
    steps = model.parameters
    laws = {step.name: Sized(step.initializer, step.shape) for step in steps if step.initializer is not None}
    return Base({step.name: step.shape for step in steps}, laws, layers_of(model), heads_of(model))


def from_model(model: Seen, base: Seen) -> Base:
    """From a smaller model of the same kind.

    Raises:
        ArgumentError: a parameter that the base does not have, or that is wider there.
    """
    counterparts = _counterparts(model, base)
    own = itself(base)
    shapes = {name: own.shapes[other] for name, other in counterparts.items()}
    for step in model.parameters:
        shape = shapes[step.name]
        if len(shape) != len(step.shape):
            raise ArgumentError(f"{step.name} has shape {step.shape} and in the base {shape}: another rank")
        if any(small > large for small, large in zip(shape, step.shape, strict=True)):
            raise ArgumentError(
                f"the base is wider than the model: {step.name} has shape {step.shape} and in the base {shape}; "
                "take the smaller one as the base"
            )
    return Base(
        shapes,
        {name: own.laws[other] for name, other in counterparts.items() if other in own.laws},
        own.layers,
        {name: own.heads[other] for name, other in counterparts.items() if other in own.heads},
    )


def from_numbers(
    model: Seen, grows: Growing, width: int, base_width: int, base_depth: int | None, head_size: int | None
) -> Base:
    """From the width and depth of a base that is like the model in everything else.

    Args:
        model: the model.
        grows: which of its dimensions are a width.
        width: the model's.
        base_width, base_depth: the base's; the depth is the model's where None.
        head_size: of the base's attention heads; the model's where None.

    Raises:
        ArgumentError: a width that the base would have a fraction of.
    """
    shapes = {
        step.name: _shrunk(step.name, step.shape, grows[step.name], base_width, width) for step in model.parameters
    }
    everywhere = {step.name: shapes.get(step.name, step.shape) for step in model.plan.values()}
    depths = layers_of(model)

    def adjust(twin: nn.Module) -> None:
        for holder in _holders(twin):
            _shrink(holder, base_width / width, base_depth)

    drawn = native_at(model.model, everywhere, adjust)
    laws = {
        name: Sized(step.initializer, shapes[name])
        for name, step in drawn.items()
        if step.initializer is not None and name in shapes
    }
    heads = {name: _shrunk_head(head, head_size) for name, head in heads_of(model).items()}
    return Base(
        shapes,
        laws,
        dict.fromkeys(depths, base_depth) if base_depth is not None else depths,
        heads,
        base_width,
        tuple(_said(heads_of(model), head_size, width, base_width)),
    )


def layers_of(model: Seen) -> dict[str, int]:
    """Layers of each stack of repeated blocks with residual branches."""
    places = model.graph.places.values()
    branched = {place.stack for place in places if place.branch is not None}
    return {place.stack: place.layers for place in places if place.layers and place.stack in branched}


def heads_of(model: Seen) -> dict[str, Head]:
    """The heads whose queries each parameter makes."""
    return {use.tensor: head for use in model.graph.uses if (head := _head(use)) is not None}


def _head(use: Use) -> Head | None:
    if use.role != "attention query" or not use.heads or use.axes is None:
        return None
    made = 1
    for axis in use.axes.outputs:
        made *= use.axes.shape[axis]
    return Head(made / use.heads, use.scores)


def _shrunk_head(head: Head, size: int | None) -> Head:
    """The base's head: the code divides scores by the same power of the head's size."""
    if size is None or size == head.size or not head.scores:
        return Head(size or head.size, head.scores)
    power = log(head.scores) / log(sqrt(head.size)) if head.size > 1 else 0.0
    return Head(size, sqrt(size) ** power)


def _said(heads: Mapping[str, Head], head_size: int | None, width: int, base_width: int) -> list[str]:
    if not heads or head_size is not None or width == base_width:
        return []
    size = next(iter(heads.values())).size
    return [f"attention heads have size {size:g} at the base too: give base_head_size= where they grow with the width"]


def _shrunk(name: str, shape: tuple[int, ...], grows: Sequence[bool], base_width: int, width: int) -> tuple[int, ...]:
    small = [size * base_width / width if is_width else size for size, is_width in zip(shape, grows, strict=True)]
    if any(size != int(size) for size in small):
        raise ArgumentError(
            f"{name} of shape {shape} would have the shape {tuple(small)} at the base width {base_width} (the model's "
            f"is {width}): a dimension does not grow with the width; give base= a model of the base size instead"
        )
    return tuple(map(int, small))


# What the init code of transformers and of recurrent layers reads beside the tensors themselves.
_WIDTHS = ("hidden_size", "intermediate_size")


def _holders(model: nn.Module) -> list[Any]:
    """The configs and recurrent layers of a model, each once."""
    configs: list[Any] = [getattr(module, "config", None) for module in model.modules()]
    recurrent = [module for module in model.modules() if isinstance(module, nn.RNNBase | nn.RNNCellBase)]
    return [*{id(config): config for config in configs if hasattr(config, "to_dict")}.values(), *recurrent]


def _shrink(holder: Any, factor: float, depth: int | None) -> None:
    for field in _WIDTHS:
        if isinstance(getattr(holder, field, None), int):
            setattr(holder, field, round(getattr(holder, field) * factor))
    if depth is not None and isinstance(getattr(holder, "num_hidden_layers", None), int):
        holder.num_hidden_layers = depth


def _counterparts(model: Seen, base: Seen) -> dict[str, str]:
    """For each parameter the base's of the same name; of deeper stacks the one as far up in it."""
    there = {step.name: step for step in base.parameters}
    alike: dict[str, list[str]] = defaultdict(list)
    mine: dict[str, list[str]] = defaultdict(list)
    for name in there:
        alike[_NUMBER.sub("*", name)].append(name)
    for step in model.parameters:
        mine[_NUMBER.sub("*", step.name)].append(step.name)
    found: dict[str, str] = {}
    for pattern, names in mine.items():
        others = alike.get(pattern, [])
        if not others:
            raise ArgumentError(
                f"the base {type(base.model).__name__} has no parameter like {names[0]}: it must be the same "
                "architecture, only narrower or shallower"
            )
        same = set(names) <= set(others)
        for number, name in enumerate(names):
            found[name] = name if same else others[number * len(others) // len(names)]
    return found
