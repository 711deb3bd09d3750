"""Everything that must hold before materialize writes its first value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from fanin.errors import FaninError, PlanError
from fanin.plans import Plan
from fanin.plans.steps import Copy, Draw, Keep, Replay, Step, Unknown
from fanin.random import Stream
from fanin.torch.capture.geometry import Geometry
from fanin.torch.file_tensors import to_torch
from fanin.torch.materialize.laws import check_draw, check_law
from fanin.torch.pieces import refusal
from fanin.torch.protection import protections
from fanin.torch.replay import DTYPES, Sources, limit_for, names_read, run
from fanin.torch.tensors import StoredTensor, storage_id, stored_tensors
from fanin.weights import read_weights

_LISTED = 5


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """One step and the stored tensor of the model that it is for.

    Attributes:
        after: names of the tensors that must be written before.
        source: the values from a file, for `Copy`.
    """

    step: Step
    stored: StoredTensor
    after: tuple[str, ...] = ()
    source: torch.Tensor | None = None

    @property
    def writes(self) -> bool:
        """Whether the step writes values."""
        return not isinstance(self.step.action, (Keep, Unknown))


def checked(
    model: nn.Module,
    plan: Plan,
    seed: int,
    device: str | torch.device | None,
    allow_unknown: bool,
    *,
    override_keep: bool = False,
) -> tuple[Task, ...]:
    """The tasks of a plan on a model, in the model's order, if all of them can be done.

    Raises:
        PlanError, ArgumentError: what cannot be done, and what to do instead.
    """
    Stream.named(seed, "")
    stored = stored_tensors(model)
    _check_names(stored, plan)
    _check_memory(stored, device)
    if plan.unknown and not allow_unknown:
        raise PlanError(_unknown_text(plan))
    if not override_keep:
        _check_protected(model, plan)
    shapes = {step.name: step for step in plan.steps}
    return _in_order(tuple(_task(plan[item.name], item, shapes) for item in stored))


def _check_names(stored: tuple[StoredTensor, ...], plan: Plan) -> None:
    held = {name: item.name for item in stored for name in item.names}
    planned = {name: step.name for step in plan.steps for name in (step.name, *step.aliases)}
    missing, unexpected = [n for n in held if n not in planned], [n for n in planned if n not in held]
    if missing or unexpected:
        parts = [("the plan has no step for", missing), ("the model has no tensor", unexpected)]
        text = "; ".join(f"{what} {_listed(names)}" for what, names in parts if names)
        raise PlanError(f"the plan is for another model: {text}. Plan this model, or materialize the planned one")
    for step in plan.steps:
        apart = sorted({held[name] for name in (step.name, *step.aliases)})
        if len(apart) > 1:
            raise PlanError(f"{_listed(apart)} are one tensor in the plan (tied), but separate in the model: tie them")
    for item in stored:
        apart = sorted({planned[name] for name in item.names})
        if len(apart) > 1:
            raise PlanError(f"{_listed(apart)} are one tensor in the model (tied), but separate steps of the plan")


def _check_memory(stored: tuple[StoredTensor, ...], device: str | torch.device | None) -> None:
    target = None if device is None else _usable(device)
    for item in stored:
        reason = refusal(item.tensor)
        if reason is not None:
            raise PlanError(f"{item.name!r} {reason}")
        seen = item.tensor.device
        if target is not None and not item.tensor.is_meta and _placed(seen) != _placed(target):
            raise PlanError(f"{item.name!r} is on {seen}, not on {target}: call model.to({str(target)!r}) first")
    _check_overlap(stored)


def _usable(device: str | torch.device) -> torch.device:
    try:
        target = torch.device(device)
        torch.empty(0, device=target)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise PlanError(f"the device {str(device)!r} cannot be used: {str(error).splitlines()[0]}") from None
    if target.type == "meta":
        raise PlanError("the meta device holds no values: choose a real one, as device='cpu'")
    return target


def _placed(device: torch.device) -> tuple[str, int]:
    return device.type, device.index or 0


def _check_overlap(stored: tuple[StoredTensor, ...]) -> None:
    """Two stored tensors that share memory cannot both be written once."""
    regions: dict[int, list[tuple[int, int, str]]] = {}
    for item in stored:
        first, end = Geometry.of(item.tensor).span
        size = item.tensor.element_size()
        regions.setdefault(storage_id(item.tensor), []).append((first * size, end * size, item.name))
    for places in regions.values():
        places.sort()
        for before, after in pairwise(places):
            if after[0] < before[1] and after[0] < after[1]:
                raise PlanError(f"{before[2]!r} and {after[2]!r} overlap in memory without being the same tensor")


def _check_protected(model: nn.Module, plan: Plan) -> None:
    marks = protections(model)
    written = [step.name for step in plan.steps if not isinstance(step.action, Keep | Unknown)]
    guarded = [name for name in written if name in marks and marks[name].values and marks[name].held]
    if guarded:
        raise PlanError(
            f"the plan would write {_listed(guarded)}, whose values are protected ({marks[guarded[0]].why}): plan this "
            "model, so that the plan keeps them, give them up with fanin.unkeep, or pass override_keep=True"
        )


def _unknown_text(plan: Plan) -> str:
    reasons = "; ".join(f"{name} ({plan[name].why})" for name in plan.unknown[:_LISTED])
    more = f" and {len(plan.unknown) - _LISTED} more" if len(plan.unknown) > _LISTED else ""
    return (
        f"the plan does not know where the values of {len(plan.unknown)} tensors come from: {reasons}{more}. "
        "Give them a law with plan.override({name: initializer}), or pass allow_unknown=True to leave them as they are"
    )


def _task(step: Step, item: StoredTensor, steps: Mapping[str, Step]) -> Task:
    seen = tuple(item.tensor.shape), str(item.tensor.dtype).removeprefix("torch.")
    if seen != (step.shape, step.dtype):
        raise PlanError(
            f"{step.name!r}: the plan has shape {step.shape} and dtype {step.dtype}, the model {seen[0]} and {seen[1]}"
        )
    try:
        return _by_action(step, item, steps)
    except PlanError as error:
        raise PlanError(f"{step.name!r}: {error}") from error
    except FaninError as error:
        raise PlanError(f"{step.name!r} cannot be written: {error}") from error


def _by_action(step: Step, item: StoredTensor, steps: Mapping[str, Step]) -> Task:
    match step.action:
        case Draw(law):
            check_law(law, item.tensor)
            return Task(step, item)
        case Replay(program):
            return Task(step, item, after=_check_program(step, program, steps))
        case Copy(source, key):
            return Task(step, item, source=_from_file(step, source, key))
        case Keep() if item.tensor.is_meta:
            raise PlanError("its values are to be kept, but it is on the meta device and has none: load or draw them")
        case _:
            return Task(step, item)


def _check_program(step: Step, program: tuple[Any, ...], steps: Mapping[str, Step]) -> tuple[str, ...]:
    """Run the program without memory; the names that it reads."""

    def blank(name: str) -> torch.Tensor:
        if name not in steps:
            raise PlanError(f"its program reads {name!r}, which the plan does not have")
        return torch.empty(steps[name].shape, dtype=DTYPES[steps[name].dtype], device="meta")

    shape = tuple(run(program, Sources(blank, check_draw), "meta", limit_for(step.shape)).shape)
    if shape != step.shape:
        raise PlanError(f"its program computes shape {shape}, but the tensor has {step.shape}")
    return names_read(program)


def _from_file(step: Step, source: str, key: str) -> torch.Tensor:
    file = read_weights(source)
    if key not in file:
        raise PlanError(f"{source} has no tensor {key!r}")
    values = to_torch(file[key])
    if tuple(values.shape) != step.shape:
        raise PlanError(f"{key!r} in {source} has shape {tuple(values.shape)}, the plan {step.shape}")
    return values


def _in_order(tasks: tuple[Task, ...]) -> tuple[Task, ...]:
    """Tasks so that each comes after those it reads from."""
    waiting, done, ordered = list(tasks), set[str](), list[Task]()
    while waiting:
        ready = [task for task in waiting if done.issuperset(task.after)]
        if not ready:
            names = _listed(task.step.name for task in waiting)
            raise PlanError(f"the programs of {names} read each other in a circle: none can be first")
        ordered += ready
        done.update(task.step.name for task in ready)
        waiting = [task for task in waiting if task.step.name not in done]
    return tuple(ordered)


def _listed(names: Iterable[str]) -> str:
    every = list(names)
    more = f" and {len(every) - _LISTED} more" if len(every) > _LISTED else ""
    return ", ".join(repr(name) for name in every[:_LISTED]) + more
