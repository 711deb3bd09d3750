"""Look at every stored value of a model or a weights file once, without a forward pass, and say what is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from fanin.auditing.exchange import together
from fanin.auditing.facts import config_of, rebuilt, shapeless, ties_of, types_of
from fanin.auditing.fresh import is_trained
from fanin.auditing.planned import tensors_planned
from fanin.auditing.reading import Moved, laws_and_graph, tensors_of
from fanin.auditing.records import Scene, Seen
from fanin.auditing.references import Reference, reference_of
from fanin.auditing.stored import config_beside, tensors_of_file, ties_by_name
from fanin.auditing.table import findings, verdict
from fanin.checking import ParameterReport, Report
from fanin.errors import ArgumentError, FaninError
from fanin.plans import Plan
from fanin.torch.agreement import Team
from fanin.torch.capture import Captured
from fanin.torch.file_tensors import OpenedWeights
from fanin.torch.files import open_weights
from fanin.torch.protection import has_values
from fanin.torch.tensors import stored_tensors
from fanin.torch.trace import trace
from fanin.torch.unwrapped import unwrapped


def audit(
    model_or_path: nn.Module | Captured | Plan | OpenedWeights | str | Path,
    plan: Plan | None = None,
    *,
    inputs: Any = None,
    reference: Reference | None = None,
    progress: Moved | None = None,
) -> Report:
    """Read every stored tensor once and say which is damaged, repeated, misplaced or of the wrong size, and why.

    No forward pass with values is run (roles come from one without memory). Of a model whose tensors are sharded over
    processes each reads its own part; all processes call this together and get the same report.

    Standard deviations are held against the plan with five standard errors, σ·√((κ − 1)/4n) each, and 1 %. Where
    nearly all values are no fresh draw the model is taken for trained, and rules about draws are left out.

    Args:
        model_or_path: a module (real, sharded, meta), a captured model, a plan, an opened weights file, or the path of
            one (any format of `fanin.open_weights`: then roles come from names, one tensor is in memory at a time).
        plan: where the values should come from; what is found is held against it.
        inputs: what to trace the model with; made up where None.
        reference: values that should still be there: a file, a mapping of tensors by the model's names, or the
            `Ledger` of `fanin.load`.
        progress: told (done, in all) as the read goes on.

    Returns:
        A report of kind "audit": `verdict` is "healthy", or "error" or "warning" after its gravest finding.

    Raises:
        ArgumentError: none of these, or a reference without a name in common.
        WeightsError: the file is missing or damaged.
        PlanError: FSDP1 has packed the model's tensors, or a rank is lost.
        TraceError: the model does not run on `inputs`.

    >>> import fanin, torch
    >>> model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    >>> plan = fanin.initialize(model, "he")
    >>> audit(model, plan).verdict
    'healthy'
    >>> _ = torch.nn.init.constant_(model[2].weight, 0.01)
    >>> print(audit(model, plan).findings[0].tensor, audit(model, plan).findings[0].rule)
    2.weight constant
    """
    scene = _scene(model_or_path, _checked(plan), inputs, reference, progress or _silent)
    found = findings(scene)
    return Report(
        verdict=verdict(found),
        findings=found,
        parameters=tuple(_parameter(seen) for seen in scene.tensors if seen.kind == "parameter"),
        notes=scene.notes,
        plan=plan,
        kind="audit",
        model=scene.model,
    )


def _silent(done: int, whole: int) -> None:
    """Where nobody wants to be told."""


def _checked(plan: object) -> Plan | None:
    if plan is None or isinstance(plan, Plan):
        return plan
    raise ArgumentError(f"plan must be a fanin.Plan, got {type(plan).__name__}")


def _scene(given: object, plan: Plan | None, inputs: Any, reference: Reference | None, progress: Moved) -> Scene:
    match given:
        case str() | Path():
            opened = open_weights(given)
            opened.is_own = True
            return _of_file(opened, plan, reference, progress)
        case OpenedWeights():
            return _of_file(given, plan, reference, progress)
        case Plan():
            return _of_plan(given, None, inputs, native=given.recipe == "native")
        case Captured():
            return _of_plan(plan or given.plan, unwrapped(given.model), inputs, native=plan is None)
        case nn.Module():
            return _of_model(given, plan, inputs, reference, progress)
        case _:
            raise ArgumentError(
                f"audit takes a module, a captured model, a plan, weights or their path, not a {type(given).__name__}"
            )


def _of_model(model: nn.Module, plan: Plan | None, inputs: Any, reference: Reference | None, progress: Moved) -> Scene:
    team = Team.of(model)
    laws, graph, notes = team.decided(lambda: laws_and_graph(model, inputs))
    bare = laws.model
    if not any(has_values(entry.tensor) for entry in stored_tensors(bare)):
        return _of_plan(plan or laws.plan, bare, inputs, native=plan is None)
    own = team.decided(lambda: list(tensors_of(bare, laws, graph, plan, progress)))
    seen, ranks = together(model, own)
    tied, untied = ties_of(bare)
    return Scene(
        tensors=seen,
        model=type(bare).__name__,
        plan=plan,
        config=config_of(bare),
        ties=tied,
        untied=untied,
        types=types_of(bare),
        shapeless=shapeless(bare),
        trained=is_trained(seen),
        reference=reference_of(reference, (name for each in seen for name in (each.name, *each.aliases))),
        rebuilt=rebuilt(bare),
        ranks=ranks,
        notes=(*notes, *_unread(seen)),
    )


def _of_plan(plan: Plan, model: nn.Module | None, inputs: Any, *, native: bool) -> Scene:
    notes: tuple[str, ...] = ()
    graph = None
    if model is not None:
        try:
            graph = trace(model, inputs, plan)
        except FaninError as error:
            if inputs is not None:
                raise
            notes = (f"roles are from the plan alone: {error}",)
    tensors = tensors_planned(plan, graph, native=native)
    return Scene(
        tensors=tensors,
        model=plan.model,
        source="plan",
        plan=None if native else plan,
        types={} if model is None else types_of(model),
        notes=(*plan.notes, *notes),
    )


def _of_file(opened: OpenedWeights, plan: Plan | None, reference: Reference | None, progress: Moved) -> Scene:
    seen = tuple(tensors_of_file(opened, plan, progress))
    config = config_beside(opened.file.path)
    return Scene(
        tensors=seen,
        model=opened.file.path.name,
        source="file",
        plan=plan,
        config=config,
        ties=ties_by_name(config, {each.name: each.role for each in seen}),
        trained=is_trained(seen),
        reference=reference_of(reference, (each.name for each in seen)),
        notes=(*opened.notes, *_unread(seen)),
    )


def _unread(tensors: Sequence[Seen]) -> tuple[str, ...]:
    return tuple(f"{seen.name} was not read: {seen.unsound}" for seen in tensors if seen.unsound)


def _parameter(seen: Seen) -> ParameterReport:
    numbers = seen.numbers
    planned = seen.law if numbers is None else seen.planned
    told = ParameterReport(
        name=seen.name,
        shape=seen.shape,
        dtype=seen.dtype,
        role=seen.role or None,
        trainable=seen.trainable,
        planned_std=None if planned is None else planned.std,
    )
    if numbers is None or not numbers.finite or not seen.floating:
        return told
    return replace(
        told,
        mean=numbers.mean,
        std=numbers.std,
        max_abs=numbers.max_abs,
        non_finite=numbers.nan + numbers.infinite,
        spread=seen.spread,
    )
