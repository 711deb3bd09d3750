"""From a model and a recipe to a plan, and to values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import nn

from fanin.axes import Axes
from fanin.errors import ArgumentError
from fanin.graph import Graph, Place, Use, role
from fanin.graph.openings import openings
from fanin.plans import Plan
from fanin.plans.steps import Draw, Replay, Step, Unknown
from fanin.recipes import Choice, Recipe, TensorInfo, named, packed
from fanin.recipes.unmatched import unmatched
from fanin.torch.capture import Captured
from fanin.torch.materialize import materialize
from fanin.torch.native import native
from fanin.torch.protection import honoured, protection_notes, protections
from fanin.torch.trace import trace

_LISTED = 3
_ADJECTIVES = ("packed", "recurrent", "recurrent input", "recurrent hidden")


def plan(
    model: nn.Module | Captured | Callable[[], nn.Module], recipe: str | Recipe = "native", inputs: Any = None
) -> Plan:
    """Where the values of every parameter and buffer of `model` come from under a recipe, with the reason of each.

    The first rule of the recipe that matches a tensor decides; a tensor without a rule takes the law of the model's
    own code; where that is not known either the step is Unknown, and `materialize` refuses it. What `fanin.keep`, the
    loading of weights or the model's own `_no_reinit` protects is kept under every recipe.

    Args:
        model: a module (real or meta), a captured model, or a function that makes one, which is captured.
        recipe: a name (`fanin.recipes.names()`) or a `Recipe`.
        inputs: what to trace the model with, as `trace` takes it; made up where None.

    Raises:
        UnknownNameError: no recipe of that name.
        ArgumentError: not a model or not a recipe, or a rule that cannot be applied to a tensor.
        CaptureError, TraceError: the function or the forward pass cannot be followed.

    >>> steps = plan(lambda: nn.Sequential(nn.Linear(784, 500), nn.ReLU(), nn.Linear(500, 10)), "he")
    >>> round(steps["0.weight"].std, 6), steps["0.weight"].why
    (0.050508, 'relu follows: gain 1.414 over fan-in 784')
    """
    chosen = _recipe(recipe)
    source = native(model)
    graph = trace(source.model, inputs, source.plan)
    tensors = _infos(source.plan, graph)
    marks = protections(source.model)
    choices = [None if tensor.name in marks else packed.choose(chosen, tensor, graph) for tensor in tensors]
    steps = [
        _step(source.plan[tensor.name], tensor, chosen, choice) for tensor, choice in zip(tensors, choices, strict=True)
    ]
    steps = honoured(steps, source.plan, marks, constructed=not isinstance(model, nn.Module))
    free = [choice for tensor, choice in zip(tensors, choices, strict=True) if tensor.name not in marks]
    told = (*_notes(chosen, free, graph), *unmatched(chosen, tensors, graph), *protection_notes(marks, source.plan))
    notes = (*source.plan.notes, *graph.notes, *told)
    return Plan(steps, type(source.model).__name__, chosen.name, notes)


def initialize(model: nn.Module | Captured, recipe: str | Recipe = "he", inputs: Any = None, seed: int = 0) -> Plan:
    """Write the values of a recipe into `model` and return the plan that says where each came from.

    Args:
        model: a module (real or meta) or a captured model; it is changed in place.
        recipe: a name (`fanin.recipes.names()`) or a `Recipe`.
        inputs: what to trace the model with; made up where None.
        seed: from 0 to 2⁶⁴ − 1; the same seed gives the same bits on any machine.

    Raises:
        As `plan` and `materialize`; then the model is untouched.

    >>> model = nn.Linear(4, 2)
    >>> initialize(model, "lecun", seed=1)["weight"].std, model.bias.tolist()
    (0.5, [0.0, 0.0])
    """
    module = _module(model)
    made = plan(model, recipe, inputs)
    materialize(module, made, seed=seed)
    return made


def _recipe(recipe: object) -> Recipe:
    if isinstance(recipe, Recipe):
        return recipe
    if isinstance(recipe, str):
        return named(recipe)
    raise ArgumentError(f"recipe must be a name or a Recipe, got {type(recipe).__name__}")


def _module(model: object) -> nn.Module:
    module = model.model if isinstance(model, Captured) else model
    if not isinstance(module, nn.Module):
        raise ArgumentError(f"initialize writes into a module or a captured model, not into a {type(model).__name__}")
    return module


def _infos(steps: Plan, graph: Graph) -> tuple[TensorInfo, ...]:
    uses = {name: graph.of(name) for name in steps}
    tied = [found for found in uses.values() if {"embedding", "linear"} <= {use.op for use in found}]
    head = next((use for found in tied for use in found if use.op == "linear"), None)
    opened = openings(graph)
    stacks: dict[str, int] = {}
    for place in graph.places.values():  # the last norm of a post-norm stack stands behind its branches: knows of none
        stacks[place.stack] = max(place.branches, stacks.get(place.stack, 0))
    layers = max((place.layers for place in graph.places.values()), default=0)
    first = next((use.tensor for use in graph.uses if use.axes is not None), "")
    return tuple(
        TensorInfo(
            name=step.name,
            shape=step.shape,
            dtype=step.dtype,
            kind=step.kind,
            role=role(step.kind, uses[step.name]),
            uses=uses[step.name],
            native=step.initializer,
            computed=isinstance(step.action, Replay),
            tied_head=bool(tied),
            head_scale=1.0 if head is None else head.scaled,
            head_behind_norm=head is not None and head.behind_norm,
            place=graph.places.get(step.name, Place()),
            partner_role=_partner_role(uses[step.name], graph),
            partner=_partner_use(uses[step.name], uses),
            opening=opened.get(step.name),
            model_layers=layers,
            model_branches=sum(stacks.values()),
            first=step.name == first,
        )
        for step in steps.values()
    )


def _partner_role(uses: Sequence[Use], graph: Graph) -> str:
    partner = _partner(uses)
    return role("parameter", graph.of(partner)) if partner else ""


def _partner_use(found: Sequence[Use], uses: Mapping[str, tuple[Use, ...]]) -> Use | None:
    return next(iter(uses.get(_partner(found), ())), None)


def _partner(uses: Sequence[Use]) -> str:
    return next((use.partner for use in uses if use.partner), "")


def _step(authors: Step, tensor: TensorInfo, recipe: Recipe, choice: Choice | None) -> Step:
    seen = {"activation": tensor.activation, "parameter": tensor.parameter, "place": tensor.place}
    step = replace(authors, role=tensor.role, axes=_axes(tensor), **seen)
    if choice is not None and choice.initializer is not None:
        return replace(step, action=Draw(choice.initializer), why=choice.why, source=choice.source)
    if isinstance(step.action, Unknown) or not recipe.rules:
        return step
    if choice is not None:
        return replace(step, why=choice.why, source=choice.source)
    return replace(step, why=f"{recipe.name} has no rule for {_article(tensor.role)}; {step.why}")


def _axes(tensor: TensorInfo) -> Axes | None:
    """Its axes; of a packed tensor those of a block where all blocks have the same."""
    blocks = {use.axes for use in tensor.uses if use.parts}
    return tensor.axes if len(blocks) < 2 else None


def _article(role: str) -> str:
    if role == "unknown":
        return "a tensor of unknown role"
    noun = f"{role} tensor" if role in _ADJECTIVES else role
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _notes(recipe: Recipe, choices: Sequence[Choice | None], graph: Graph) -> Iterator[str]:
    if recipe.rules and choices and not any(choices):
        yield f"NO RULE of the recipe {recipe.name!r} matched any tensor: the plan is the model's own"
    if graph.unreached:
        more = f" and {len(graph.unreached) - _LISTED} more" if len(graph.unreached) > _LISTED else ""
        listed = ", ".join(graph.unreached[:_LISTED])
        yield f"the forward pass never reached {listed}{more}: roles and axes there are from the classes of modules"
