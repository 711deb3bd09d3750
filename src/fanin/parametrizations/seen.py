"""A model as a parametrization reads it: its plan, and what its forward pass does with each parameter."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from fanin.errors import ArgumentError
from fanin.graph import Graph, Place, Use, role
from fanin.plans import Plan
from fanin.plans.steps import Step
from fanin.recipes import Recipe
from fanin.torch.capture import Captured
from fanin.torch.native import native
from fanin.torch.planning import plan
from fanin.torch.trace import trace
from fanin.torch.trace.attempts import UNFINISHED


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """A model, its plan and its graph.

    Attributes:
        model: the module, without wrappers.
        plan: where each tensor's values come from in standard parametrization.
        graph: every use of every parameter.
        uses: the same by tensor.
    """

    model: nn.Module
    plan: Plan
    graph: Graph
    uses: Mapping[str, Sequence[Use]]

    @property
    def parameters(self) -> tuple[Step, ...]:
        """The steps of parameters, tied ones once."""
        return tuple(step for step in self.plan.values() if step.kind == "parameter")

    def role(self, name: str) -> str:
        """What the parameter is for."""
        return role("parameter", self.uses.get(name, ()))

    def contraction(self, name: str) -> Use | None:
        """The use that gives the parameter its inputs and outputs; None for tables (tied ones too) and vectors."""
        uses = self.uses.get(name, ())
        if any(use.op == "embedding" for use in uses):
            return None
        return next((use for use in uses if use.axes is not None), None)

    def place(self, name: str) -> Place:
        """Where in the network it stands."""
        return self.graph.places.get(name, Place())


def seen(model: nn.Module | Captured, recipe: str | Recipe, inputs: Any) -> Seen:
    """Plan and graph of a model.

    Args:
        model: as `fanin.plan` takes it, a function that makes one too.
        recipe: which laws are the standard ones.
        inputs: to trace it with; made up where None.

    Raises:
        ArgumentError: no forward pass came to its end, so that nothing tells what grows.
        As `fanin.plan`.
    """
    source = native(model)
    made = source.plan if recipe == "native" else plan(model, recipe, inputs)
    graph = trace(source.model, inputs, source.plan)
    unfinished = next((note for note in graph.notes if note.startswith(UNFINISHED)), "")
    if unfinished:
        raise ArgumentError(f"{type(source.model).__name__} cannot be parametrized: {unfinished}")
    uses: dict[str, list[Use]] = defaultdict(list)
    for use in graph.uses:
        uses[use.tensor].append(use)
    return Seen(source.model, made, graph, dict(uses))
