"""What a plan says against what the model's own constructor draws."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt

import pytest
import torch
from torch import nn

from fanin.plans import Plan
from fanin.plans.steps import Draw
from fanin.torch.capture import Captured, capture
from fanin.torch.materialize import materialize
from fanin.torch.tensors import stored_tensors

Truth = Callable[[Callable[[], nn.Module]], Captured]


@pytest.fixture
def agrees_with_constructor() -> Truth:
    """Capture a factory, materialize, and compare tensor by tensor with what the factory itself makes."""
    return _compare


def _compare(factory: Callable[[], nn.Module]) -> Captured:
    captured = capture(factory)
    assert not captured.plan.unknown, captured.plan.unknown
    with torch.random.fork_rng():
        torch.manual_seed(20261121)
        truth = factory()
    assert all(item.tensor.is_meta for item in stored_tensors(captured.model))
    ours = materialize(captured.model, captured.plan, seed=3)
    pairs = list(zip(stored_tensors(ours), stored_tensors(truth), strict=True))
    assert pairs
    for mine, theirs in pairs:
        assert (mine.name, mine.kind, mine.aliases, mine.persistent) == (
            theirs.name,
            theirs.kind,
            theirs.aliases,
            theirs.persistent,
        )
        assert type(mine.tensor) is type(theirs.tensor)
        assert mine.tensor.requires_grad == theirs.tensor.requires_grad
        assert (mine.tensor.shape, mine.tensor.dtype) == (theirs.tensor.shape, theirs.tensor.dtype)
        _same_law(captured.plan, mine.name, mine.tensor.detach(), theirs.tensor.detach())
    assert ours.state_dict().keys() == truth.state_dict().keys()
    return captured


def _same_law(plan: Plan, name: str, mine: torch.Tensor, theirs: torch.Tensor) -> None:
    step = plan[name]
    if not isinstance(step.action, Draw) and not _depends_on_chance(step.action):
        assert torch.equal(mine, theirs), f"{name}: {step.action}"
        return
    if step.std == 0:
        assert torch.equal(mine, theirs), name
        return
    a, b = mine.double().flatten(), theirs.double().flatten()
    spread = max(float(a.std()), float(b.std())) if a.numel() > 1 else abs(float(a)) + abs(float(b))
    error = 5 * spread * sqrt(2 / a.numel())
    assert abs(float(a.mean() - b.mean())) <= error, f"{name}: means {a.mean()} and {b.mean()}"
    if a.numel() >= 30:
        # standard error of a standard deviation: below that of the mean for every law without heavy tails
        assert abs(float(a.std() - b.std())) <= error, f"{name}: stds {a.std()} and {b.std()}"
    if step.std is not None and a.numel() >= 30:
        assert abs(float(b.std()) - step.std) <= error, f"{name}: the constructor has {b.std()}, the plan {step.std}"
        assert abs(float(b.mean()) - step.mean) <= error
        assert abs(float(a.std()) - step.std) <= error


def _depends_on_chance(action: object) -> bool:
    program = getattr(action, "program", ())
    return any(line[0] in ("draw", "tensor") for line in program)
