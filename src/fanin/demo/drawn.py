"""Weights as drawn, beside what the plan promised."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from time import perf_counter
from typing import Any

import fanin
from fanin.demo.written import bits
from fanin.plans import Plan


@dataclass(frozen=True, slots=True)
class DrawnTensor:
    """One random tensor: its number of values, the exact std of its law, the std of the values."""

    name: str
    values: int
    promised: float
    measured: float


@dataclass(frozen=True, slots=True)
class Drawn:
    """A model with values.

    Attributes:
        model: the model.
        seed: what its values were drawn with.
        seconds: how long drawing took, with the kernels compiled.
        again_same: drawing once more gave the same bits.
        values: how many values the plan wrote.
        tensors: the random ones.
    """

    model: Any
    seed: int
    seconds: float
    again_same: bool
    values: int
    tensors: tuple[DrawnTensor, ...]


def draw(model: Any, plan: Plan, seed: int) -> Drawn:
    """Materialize the plan twice, the first time to compile the kernels, and measure time and values of the second."""
    fanin.materialize(model, plan, seed=seed)
    once = {name: bits(tensor) for name, tensor in model.state_dict().items()}
    start = perf_counter()
    fanin.materialize(model, plan, seed=seed)
    seconds = perf_counter() - start
    stored = model.state_dict()
    same = all(bits(stored[name]) == seen for name, seen in once.items())
    tensors = (
        DrawnTensor(step.name, prod(step.shape), step.std, float(stored[step.name].std(correction=0)))
        for step in plan.steps
        if step.std and step.name in stored
    )
    return Drawn(model, seed, seconds, same, sum(prod(step.shape) for step in plan.steps), tuple(tensors))
