"""The steps of a plan as records without values: what can be said before anything is drawn."""

from __future__ import annotations

from collections.abc import Sequence

from fanin.auditing.reading import axes_of
from fanin.auditing.records import Seen
from fanin.graph import Graph, Place, Use, role
from fanin.plans import Plan
from fanin.plans.steps import Step, Unknown


def tensors_planned(plan: Plan, graph: Graph | None, *, native: bool) -> tuple[Seen, ...]:
    """A record of each step.

    Args:
        plan: the plan.
        graph: of the model, where there is one.
        native: the plan is the model's own code's, not somebody's.
    """
    uses: dict[str, list[Use]] = {}
    for use in graph.uses if graph is not None else ():
        uses.setdefault(use.tensor, []).append(use)
    return tuple(_seen(step, uses.get(step.name, ()), graph, native) for step in plan.steps)


def _seen(step: Step, uses: Sequence[Use], graph: Graph | None, native: bool) -> Seen:
    place = (graph.places.get(step.name) if graph is not None else None) or step.place or Place()
    return Seen(
        name=step.name,
        shape=step.shape,
        dtype=step.dtype,
        kind=step.kind,
        aliases=step.aliases,
        persistent=step.persistent,
        role=step.role or role(step.kind, uses),
        axes=axes_of(uses) or step.axes,
        uses=tuple(uses),
        place=place,
        planned=None if native else step,
        native=step if native else None,
    )


def is_unknown(step: Step | None) -> bool:
    """Nobody can say where its values come from."""
    return step is not None and isinstance(step.action, Unknown)
