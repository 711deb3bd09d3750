"""Scales of whole tensors, learned from the gradients of a loss."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from fanin.data_driven.guard import evaluated, restored_on_error
from fanin.data_driven.held import Held, Parameters
from fanin.data_driven.looks import Look
from fanin.data_driven.passes import Method, Start, outcome, rest
from fanin.errors import DataError
from fanin.plans import Plan

Learn = Callable[[list[Held]], tuple[dict[str, float], str]]
"""From the tensors that may be scaled to a factor for each by name, and what is to be said about the whole."""


def learned(start: Start, method: Method, chosen: Callable[[Tensor], bool], learn: Learn) -> Plan:
    """Draw the values, learn a factor for each chosen tensor, and return the plan that gives the same bits.

    Raises:
        DataError: there is nothing to scale, or the pass failed; the model is then as it was before.
    """
    parameters = start.parameters()
    for held in parameters.all:
        held.uses = 1
    free = [held for held in parameters.all if not held.kept and chosen(held.tensor)]
    if not free:
        raise DataError(
            f"no parameter of {type(start.model).__name__} may be scaled: all are frozen, kept or of other shapes"
        )
    with restored_on_error(start.tensors):
        start.draw()
        with evaluated(start.model, grad=True):
            factors, told = learn(free)
        _note(free, factors)
        made = outcome(start.plan, parameters, method)
        start.draw(rest(made, parameters))
    notes = (*start.plan.notes, f"{method.name}: {told}", *_kept(parameters, method))
    return replace(made, notes=notes)


def _note(free: list[Held], factors: dict[str, float]) -> None:
    for held in free:
        factor = factors[held.name]
        if factor != 1:
            held.told = [f"×{factor:.4g}"]
            held.multiply(Look((0,) * held.tensor.dim(), tuple(held.tensor.shape), None), factor)
        held.times = 2  # whatever was done to the tensor itself meanwhile, its values are drawn anew


def _kept(parameters: Parameters, method: Method) -> Iterator[str]:
    names = [held.name for held in parameters.all if held.kept]
    if names:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        yield f"{method.name}: kept: {', '.join(names[:3])}{more}"


def finite(value: Tensor, what: str) -> float:
    """The number, if it is one.

    Raises:
        DataError: it is not finite.
    """
    number = float(value.detach())
    if not torch.isfinite(value.detach()):
        raise DataError(f"{what} is {number} on this batch: start from smaller weights or scale the inputs")
    return number
