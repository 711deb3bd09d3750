"""Draw a plan's values, let one pass change their scales, and say all of it as a plan."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from fanin.data_driven.actions import is_same_in_place, scaled
from fanin.data_driven.batch import require_measurable
from fanin.data_driven.guard import evaluated, restored_on_error
from fanin.data_driven.held import Held, Parameters
from fanin.data_driven.measuring import Measure
from fanin.data_driven.recurrent import Recurrent
from fanin.data_driven.rescaling import Rescaling
from fanin.errors import ArgumentError, DataError, FaninError, PlanError, TraceError
from fanin.graph import Graph
from fanin.initializers import Constant, Cycle, Initializer
from fanin.plans import Plan
from fanin.plans.steps import Draw, Keep, Step
from fanin.recipes import Recipe
from fanin.torch.capture import Captured
from fanin.torch.materialize import materialize
from fanin.torch.planning import plan as planned
from fanin.torch.probe.batch import arguments
from fanin.torch.protection import protections
from fanin.torch.tensors import StoredTensor, stored_tensors
from fanin.torch.trace import trace
from fanin.torch.unwrapped import unwrapped

Weights = Mapping[str, Mapping[str, Tensor]]


@dataclass(frozen=True, slots=True)
class Method:
    """How a method is called in plans.

    Attributes:
        name: before each measurement.
        suffix: what the plan's recipe is extended by.
        source: who says so.
    """

    name: str
    suffix: str
    source: str


@dataclass(frozen=True, slots=True)
class Start:
    """A model about to be measured: its tensors, the plan that they are drawn by, and the graph of their uses."""

    model: nn.Module
    inputs: Any
    plan: Plan
    graph: Graph
    stored: tuple[StoredTensor, ...]
    seed: int
    sources: Weights | None

    @classmethod
    def of(
        cls, model: object, inputs: Any, plan: Plan | None, recipe: str | Recipe, seed: int, sources: Weights | None
    ) -> Start:
        """Check the model and the batch, and plan the model where no plan is given; nothing is written.

        Raises:
            ArgumentError, DataError, PlanError, TraceError: it cannot be measured.
        """
        module = model.model if isinstance(model, Captured) else model
        if not isinstance(module, nn.Module):
            raise ArgumentError(f"expected a module, got {type(module).__name__}")
        module = unwrapped(module)
        require_measurable(module, inputs)
        made = _planned(module, recipe, inputs) if plan is None else plan
        stored = stored_tensors(module)
        missing = [item.name for item in stored if item.name not in made]
        if missing:
            raise PlanError(f"the plan has no step for {missing[0]!r} of {type(module).__name__}: plan this model")
        graph = _graph(module, inputs) if any(map(_may_be_packed, made.values())) else Graph(())
        return cls(module, inputs, made, graph, stored, seed, sources)

    @property
    def tensors(self) -> Iterator[Tensor]:
        """All stored tensors."""
        return (item.tensor for item in self.stored)

    def parameters(self) -> Parameters:
        """The parameters, nothing measured yet."""
        return Parameters(self.stored, self.plan, self.graph, protections(self.model))

    def draw(self, plan: Plan | None = None) -> None:
        """Write the values of the plan, or of another one, into the model."""
        materialize(self.model, plan or self.plan, self.seed, sources=self.sources)

    def forward(self) -> Any:
        """Run the model on its inputs.

        Raises:
            DataError: the forward pass failed.
        """
        args, kwargs = arguments(self.inputs)
        with self.called():
            return self.model(*args, **kwargs)

    @contextmanager
    def called(self) -> Generator[None]:
        """Say of an error in the model's code that it is one.

        Raises:
            DataError: the block failed.
        """
        try:
            yield
        except FaninError:
            raise
        except Exception as error:
            raise DataError(
                f"the forward pass of {type(self.model).__name__} failed: {error}; the model is as it was before. "
                "Give a batch that it accepts"
            ) from error


def rescaled(
    start: Start,
    measure: Measure,
    method: Method,
    then: Callable[[Rescaling], None] | None = None,
    *,
    normed_only: bool = False,
) -> Plan:
    """Draw the values, rescale them in one pass, and return the plan that gives the same bits.

    Args:
        start: the model.
        measure: what is done to each weight when its outputs are known.
        method: how it is called.
        then: what is done after the pass, in the same mode; it may change factors and values further.
        normed_only: measure weight-normed layers alone.

    Raises:
        DataError: the pass failed or no weight was reached; the model is then as it was before.
    """
    parameters = start.parameters()
    with restored_on_error(start.tensors):
        start.draw()
        with evaluated(start.model):
            rescaling = Rescaling(parameters, measure, normed_only=normed_only)
            once(start, rescaling)
            if not any(held.uses for held in parameters.all):
                raise DataError(
                    f"no layer of {type(start.model).__name__} multiplies its input by a parameter: nothing to rescale"
                )
            if then is not None:
                then(rescaling)
            for held in parameters.all:
                held.fix()
        made = outcome(start.plan, parameters, method)
        start.draw(rest(made, parameters))
    return made


def once(start: Start, rescaling: Rescaling) -> None:
    """One forward pass that rescales."""
    with Recurrent(rescaling), rescaling:
        start.forward()


def outcome(plan: Plan, parameters: Parameters, method: Method) -> Plan:
    """The plan with what was measured: scaled laws, new biases, and why."""
    held = parameters.by_name
    steps = tuple(_step(step, held[step.name], method) if step.name in held else step for step in plan.steps)
    notes = (*plan.notes, *_notes(parameters, method))
    return replace(plan, steps=steps, recipe=f"{plan.recipe or 'plan'} + {method.suffix}", notes=notes)


def rest(made: Plan, parameters: Parameters) -> Plan:
    """The plan with Keep for all tensors that hold the bits of their steps already."""
    held = parameters.by_name

    def is_due(step: Step) -> bool:
        own = held.get(step.name)
        if own is None:
            return False
        changed = own.is_scaled and not is_same_in_place(step.action, step.dtype)
        return changed or own.values is not None or own.times > 1

    steps = tuple(step if is_due(step) else replace(step, action=Keep()) for step in made.steps)
    return replace(made, steps=steps)


def _step(step: Step, held: Held, method: Method) -> Step:
    told = _told(step, held)
    if not told:
        return step
    action = step.action
    if held.values is not None:
        action = Draw(_values(held.values))
    elif held.is_scaled:
        action = scaled(step, held.factors)
    why = "; ".join(filter(None, (step.why, f"{method.name}: {told}")))
    changed = held.values is not None or held.is_scaled
    source = "; ".join(filter(None, (step.source, method.source))) if changed else step.source
    return replace(step, action=action, why=why, source=source)


def _values(values: tuple[float, ...]) -> Initializer:
    return Cycle(values, axis=0) if len(values) > 1 else Constant(*values)


def _told(step: Step, held: Held) -> str:
    if held.told:
        first = f" (of {held.uses} uses the first decides)" if held.uses > len(held.told) else ""
        parts = held.told[0] if len(held.told) == 1 else f"{held.told[0]} and {len(held.told) - 1} more parts"
        return parts + first
    if held.kept and held.uses:
        return f"kept: {held.kept}"
    if held.silent:
        return "kept: its output is zero on this batch"
    if held.uses:
        return "kept: the operation reads a part of it that cannot be scaled by itself"
    return "kept: the pass never multiplied by it" if step.axes is not None and held.tensor.dim() > 1 else ""


def _notes(parameters: Parameters, method: Method) -> Iterator[str]:
    changed = [held for held in parameters.all if held.told and held.uses]
    unreached = [held.name for held in parameters.all if not held.uses and held.step.axes is not None]
    silent = [held.name for held in parameters.all if held.silent and not held.told]
    yield f"{method.name}: {len(changed)} weights measured in one forward pass"
    for names, what in ((unreached, "never reached"), (silent, "zero output, kept")):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            yield f"{method.name}: {what}: {', '.join(names[:3])}{more}"


def _planned(model: nn.Module, recipe: str | Recipe, inputs: Any) -> Plan:
    """The plan on these inputs, or on made-up ones where a pass without values cannot follow these."""
    try:
        return planned(model, recipe, inputs)
    except TraceError:
        return planned(model, recipe)


def _may_be_packed(step: Step) -> bool:
    """Whether only the graph can tell: a matrix whose role the plan does not know or that has several."""
    return len(step.shape) > 1 and (step.role in ("", "packed", "unknown") or step.role.startswith("recurrent"))


def _graph(model: nn.Module, inputs: Any) -> Graph:
    try:
        return trace(model, inputs)
    except TraceError:
        return trace(model)
