"""Admin: how strongly each residual sum of a post-norm transformer weighs its stream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import isfinite, sqrt
from typing import Any

from torch import Tensor, nn
from torch.overrides import BaseTorchFunctionMode

from fanin.data_driven.guard import evaluated, restored_on_error
from fanin.data_driven.passes import Method, Start, Weights, outcome, rest
from fanin.data_driven.residuals import Residuals, Sum
from fanin.errors import DataError
from fanin.graph import Place
from fanin.plans import Plan
from fanin.recipes import Recipe

_METHOD = Method("Admin", "Admin", "Liu et al. 2020, arXiv 2004.08249")


def admin(
    model: nn.Module,
    inputs: Any,
    *,
    recipe: str | Recipe = "xavier",
    plan: Plan | None = None,
    seed: int = 0,
    sources: Weights | None = None,
) -> Plan:
    """Profile a post-norm transformer in one forward pass and set the factor ω of each residual sum LN(ω·x + f(x)).

    In each stack ω_1 = 1 and ω_{i+1} = √(Var(ω_i·x_i) + Var(f_i)), the deviation of the sum if its parts were
    independent: the later a sum, the less its branch changes the stream at the start, as in a pre-norm network. Where
    the model multiplies its stream by a parameter (a scalar or a vector) that parameter becomes ω_i throughout, and
    later sums are measured with it; where it does not, nothing is changed and ω_i stands in the plan's notes and in the
    reason of the branch's last weight, to be built in.

    Args:
        model, inputs, plan, seed, sources: as for `fanin.lsuv`.
        recipe: what is drawn before.

    Raises:
        DataError: no residual sums, or sums without a norm between; else as for `fanin.lsuv`.

    Source: Liu et al. 2020 (arXiv 2004.08249), section 4.2, and the authors' Transformer-Clinic.

    >>> import torch
    >>> model, batch = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), torch.randn(8, 5, 16)
    >>> next(note for note in admin(model, batch).notes if note.startswith("Admin: ω"))
    'Admin: ω of the sum after self_attn.out_proj.weight = 1; the model has no parameter for it'
    """
    start = Start.of(model, inputs, plan, recipe, seed, sources)
    parameters = start.parameters()
    profile = _Profile(start.graph.places)
    with restored_on_error(start.tensors):
        start.draw()
        # Under a function mode torch takes none of its fused paths, which hide the sums.
        with evaluated(start.model), BaseTorchFunctionMode(), Residuals(parameters, profile.see):
            start.forward()
        if not profile.found:
            raise DataError(f"{type(start.model).__name__} has no residual sums: Admin has nothing to weigh there")
        made = outcome(start.plan, parameters, _METHOD)
        start.draw(rest(made, parameters))
    told = {weight: text for weight, text, has in profile.found if not has}
    steps = (
        replace(step, why=f"{step.why}; Admin: {told[step.name]}") if step.name in told else step for step in made.steps
    )
    notes = (f"Admin: {text}" for _, text, _ in profile.found)
    return replace(made, steps=tuple(steps), notes=(*start.plan.notes, *notes))


@dataclass(frozen=True, slots=True)
class _Profile:
    """The running factor of each stack, and what was found: the branch's last weight, the words, whether ω was set."""

    places: Mapping[str, Place]
    factors: dict[str, float] = field(default_factory=dict[str, float])
    found: list[tuple[str, str, bool]] = field(default_factory=list[tuple[str, str, bool]])

    def see(self, sum_: Sum) -> None:
        if not sum_.normed:
            raise DataError(
                f"the residual sum after {sum_.weight!r} adds to another sum without a norm between: Admin is for "
                "post-norm transformers; pre-norm ones need no such factors"
            )
        place = self.places.get(sum_.weight)
        stack = "" if place is None else place.stack
        factor = self.factors.get(stack, 1.0)
        held = sum_.factor
        if held is not None:
            held.let_measure()
        settable = held is not None and not held.kept and held.values is None
        if held is not None and settable:
            held.tensor.fill_(factor)
            held.fill(factor)
        own = factor if held is None or settable else 1.0
        after = sqrt(own * own * _variance(sum_.stream, sum_.weight) + _variance(sum_.branch, sum_.weight))
        self.factors[stack] = after
        rest_ = "" if settable else "; the model has no parameter for it" if held is None else f"; {held.name} is kept"
        self.found.append((sum_.weight, f"ω of the sum after {sum_.weight} = {factor:.4g}{rest_}", settable))


def _variance(values: Tensor, name: str) -> float:
    found = float(values.detach().float().var(correction=0))
    if not isfinite(found):
        raise DataError(f"the residual sum after {name!r} is not finite on this batch: scale the inputs")
    return found
