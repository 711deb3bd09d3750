"""One stored tensor as a plan draws it, against the same tensor as the model's own constructor draws it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from truth_statistics import Law, law_of, two_samples

from fanin.initializers import Constant, Initializer, Orthogonal, Sparse
from fanin.initializers.blocks import Blocks
from fanin.plans import Plan
from fanin.plans.steps import Draw, Keep, Replay, Step
from fanin.torch.replay import Sources, limit_for, names_read, run

Tensors = Mapping[str, torch.Tensor]
_ROUNDING = 1e-5  # relative difference of sums that are taken in another order
_FEWEST = 8  # values that a comparison of moments needs


@dataclass(frozen=True, slots=True)
class Comparison:
    """What came of one tensor.

    Attributes:
        kind: "drawn", "deterministic", or "computed" (from other tensors, or from draws of its own).
        deviations: name of each statistic → how far it is off, in standard errors.
        mismatch: what does not agree, "" where all does.
    """

    name: str
    kind: str
    deviations: Mapping[str, float]
    mismatch: str = ""


def compare(plan: Plan, name: str, ours: Tensors, theirs: Tensors) -> Comparison:
    """Compare the tensor `name` of two models, of which the plan made one and the constructor the other."""
    step, mine, real = plan[name], ours[name].detach(), theirs[name].detach()
    if isinstance(step.action, Draw):
        return _drawn(step, step.action.initializer, mine, real)
    if isinstance(step.action, Replay):
        return _computed(plan, step, step.action, mine, real, theirs)
    if isinstance(step.action, Keep):
        return _deterministic(name, mine, real)
    return Comparison(name, "unknown", {}, step.why)


def pooled(plan: Plan, theirs: Tensors) -> tuple[Comparison, ...]:
    """All of the constructor's tensors that the plan draws from one law, as one sample of it."""
    members: dict[Initializer, list[Step]] = {}
    for step in plan.steps:
        law = step.initializer
        if law is not None and step.std and law_of(law, step.shape, 0.0).below is not None:
            members.setdefault(law, []).append(step)
    return tuple(_together(law, steps, theirs) for law, steps in members.items() if len(steps) > 1)


def _together(law: Initializer, steps: list[Step], theirs: Tensors) -> Comparison:
    values = np.concatenate([_numbers(theirs[step.name].detach()) for step in steps])
    found = _law(law, theirs[steps[0].name]).deviations(values)
    return Comparison(f"all {len(steps)} tensors of {law.describe()}", "pooled", found)


def _deterministic(name: str, mine: torch.Tensor, real: torch.Tensor) -> Comparison:
    equal = bool(((mine == real) | (mine.isnan() & real.isnan())).all())
    return Comparison(name, "deterministic", {}, "" if equal else "the values differ")


def _computed(
    plan: Plan, step: Step, action: Replay, mine: torch.Tensor, real: torch.Tensor, theirs: Tensors
) -> Comparison:
    if not _chancy(plan, step):
        return _deterministic(step.name, mine, real)
    if any(line[0] == "draw" for line in action.program):
        deviations = two_samples(_numbers(mine), _numbers(real)) if mine.numel() >= _FEWEST else {}
        return Comparison(step.name, "computed", deviations)
    # A function of other tensors: it must be the same function of the constructor's.
    sources = Sources(lambda name: theirs[name].detach(), _no_draw)
    again = run(action.program, sources, limit=limit_for(step.shape)).to(real.dtype)
    close = torch.allclose(again, real, rtol=_ROUNDING, atol=_ROUNDING * float(real.abs().max()))
    return Comparison(step.name, "computed", {}, "" if close else "not the same function of the other tensors")


def _no_draw(_: object) -> torch.Tensor:
    raise AssertionError("a program without draws draws")


def _chancy(plan: Plan, step: Step) -> bool:
    """Whether the values depend on chance, directly or through other tensors."""
    action = step.action
    if isinstance(action, Draw):
        return step.std != 0
    if not isinstance(action, Replay):
        return False
    return any(line[0] == "draw" for line in action.program) or any(
        _chancy(plan, plan[name]) for name in names_read(action.program)
    )


def _drawn(step: Step, law: Initializer, mine: torch.Tensor, real: torch.Tensor) -> Comparison:
    deviations: dict[str, float] = {}
    constant = True
    for part, select in _parts(law, mine):
        first, second = select(mine), select(real)
        if isinstance(part, Constant) or part.moments(tuple(first.shape))[1] == 0:
            if not torch.equal(first, second):
                return Comparison(step.name, "drawn", {}, f"{part.describe()}: the constructor has other values")
            continue
        constant = False
        wrong = _structure(part, mine, real)
        if wrong:
            return Comparison(step.name, "drawn", {}, wrong)
        for whose, values in (("plan", first), ("constructor", second)):
            found = _law(part, mine).deviations(_numbers(values))
            for statistic, deviation in found.items():
                key = f"{statistic} of the {whose}"
                deviations[key] = max(deviations.get(key, 0.0), deviation)
    return Comparison(step.name, "deterministic" if constant else "drawn", deviations)


def _law(part: Initializer, tensor: torch.Tensor) -> Law:
    return law_of(part, tuple(tensor.shape), torch.finfo(tensor.dtype).eps)


def _structure(law: Initializer, mine: torch.Tensor, real: torch.Tensor) -> str:
    """What of a law that is more than its values the constructor's tensor lacks."""
    if isinstance(law, Orthogonal):
        grams = [_gram(values, law) for values in (mine, real)]
        return "" if torch.allclose(*grams, atol=1e-4 * law.gain**2) else "the constructor's is not orthogonal"
    if isinstance(law, Sparse):
        zeros = [sorted((values == 0).sum(0).tolist()) for values in (mine, real)]
        return "" if zeros[0] == zeros[1] else "the constructor's has other zeros"
    return ""


def _gram(values: torch.Tensor, law: Orthogonal) -> torch.Tensor:
    rest = [axis for axis in range(values.dim()) if axis not in law.rows]
    rows = int(np.prod([values.shape[axis] for axis in law.rows]))
    matrix = values.double().permute(*law.rows, *rest).reshape(rows, -1)
    return matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix


Select = Callable[[torch.Tensor], torch.Tensor]


def _parts(law: Initializer, tensor: torch.Tensor) -> Iterator[tuple[Initializer, Select]]:
    """Each law with the elements that follow it; later blocks are over earlier ones."""
    if not isinstance(law, Blocks):
        yield law, lambda values: values
        return
    owner = torch.full(tensor.shape, -1)
    for number, (start, size, _) in enumerate(law.parts):
        owner[_slices(start, size)] = number
    for number, part in ((-1, law.base), *((n, part) for n, (_, _, part) in enumerate(law.parts))):
        mask = owner == number
        if bool(mask.any()):
            yield part, _taking(mask)


def _taking(mask: torch.Tensor) -> Select:
    return lambda values: values[mask]


def _slices(start: tuple[int, ...], size: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(slice(first, first + count) for first, count in zip(start, size, strict=True))


def _numbers(values: torch.Tensor) -> np.ndarray:
    return values.double().flatten().numpy()
