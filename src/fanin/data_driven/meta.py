"""MetaInit: norms of weights for which a gradient step changes the gradient as little as possible."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from fanin.data_driven.held import Held
from fanin.data_driven.passes import Method, Start, Weights
from fanin.data_driven.slopes import finite, learned
from fanin.errors import ArgumentError, DataError
from fanin.plans import Plan
from fanin.recipes import Recipe
from fanin.torch.probe.batch import Loss, scalar

_METHOD = Method("MetaInit", "MetaInit", "Dauphin & Schoenholz 2019, NeurIPS")
_LEAST = 1e-3  # of a norm's first value; below it the direction of a weight would be lost


def metainit(
    model: nn.Module,
    inputs: Any,
    loss: Loss,
    *,
    steps: int = 500,
    lr: float = 0.1,
    momentum: float = 0.9,
    epsilon: float = 1e-5,
    recipe: str | Recipe = "lecun",
    plan: Plan | None = None,
    seed: int = 0,
    sources: Weights | None = None,
) -> Plan:
    """Change the norms of all matrices and kernels so that the loss is as nearly linear as possible along its gradient.

    The gradient quotient GQ = (1/P) Σ |(g − H g) / (g + ε·sgn g) − 1| over the P values of the weights, with g the
    gradient, H the Hessian and sgn 0 = 1, is small where a step along g hardly changes g. Signed descent with momentum
    on the norms: m ← μ·m − lr·sgn⟨W, ∂GQ/∂W⟩, ‖W‖ ← ‖W‖ + m. Directions never change, so the plan holds one factor for
    each tensor, and gives the same bits to a fresh model. Tied weights have one norm.

    Costs three backward passes a step, with activations kept. In evaluation mode, as the authors have it; what is kept,
    and errors, are as for `fanin.lsuv`.

    Args:
        model, inputs, plan, seed, sources: as for `fanin.lsuv`; the authors take inputs ~ N(0, 1) and random labels.
        loss: a function of the output, or integer labels for cross entropy.
        steps, lr, momentum: of the descent.
        epsilon: ε.
        recipe: what is drawn before.

    Raises:
        ArgumentError: a number out of range, no loss.
        DataError: as for `fanin.lsuv`, and a loss without second derivatives.

    Source: Dauphin and Schoenholz 2019, "MetaInit: Initializing learning by learning to initialize", NeurIPS.

    >>> model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 4))
    >>> batch = torch.randn(32, 8, generator=torch.Generator().manual_seed(1))
    >>> made = metainit(model, batch, torch.arange(32) % 4, steps=20)
    >>> print(*(step.name for step in made.steps if "MetaInit: ×" in step.why))
    0.weight 2.weight
    """
    if loss is None:
        raise ArgumentError("metainit needs a loss: a function of the output, or labels")
    if type(steps) is not int or steps < 1 or not all(map(isfinite, (lr, momentum, epsilon))) or epsilon <= 0:
        raise ArgumentError(
            f"metainit: steps and epsilon must be positive, lr and momentum finite, got {steps}, {epsilon}, {lr} and "
            f"{momentum}"
        )
    start = Start.of(model, inputs, plan, recipe, seed, sources)
    descent = _Descent(start, loss, steps, lr, momentum, epsilon)
    return learned(start, _METHOD, lambda tensor: tensor.dim() >= 2, descent.run)


@dataclass(frozen=True, slots=True)
class _Descent:
    start: Start
    loss: Loss
    steps: int
    lr: float
    momentum: float
    epsilon: float

    def run(self, free: list[Held]) -> tuple[dict[str, float], str]:
        # Of torch's fused attention there are no second derivatives.
        with sdpa_kernel(SDPBackend.MATH):
            return self._descend(free)

    def _descend(self, free: list[Held]) -> tuple[dict[str, float], str]:
        weights = [held.tensor for held in free]
        norms = [float(weight.detach().norm()) for weight in weights]
        now, moving = list(norms), [0.0] * len(norms)
        first, best, at = 0.0, float("inf"), list(norms)
        for step in range(self.steps + 1):
            quotient = gradient_quotient(scalar(self.loss, self.start.forward()), weights, self.epsilon)
            value = finite(quotient, "the gradient quotient")
            first = first if step else value
            if value < best:
                best, at = value, list(now)
            if step == self.steps:
                break
            # torch's stubs do not say that the gradient of an unused parameter is None.
            slopes: Any = torch.autograd.grad(quotient, weights, allow_unused=True)
            for place, (weight, slope) in enumerate(zip(weights, slopes, strict=True)):
                if slope is None or not now[place]:
                    continue
                sign = float(torch.sign((weight.detach() * slope).sum()))
                moving[place] = self.momentum * moving[place] - self.lr * sign
                new = max(now[place] + moving[place], _LEAST * norms[place])
                with torch.no_grad():
                    weight.mul_(new / now[place])
                now[place] = new
        factors = {held.name: end / norm if norm else 1.0 for held, end, norm in zip(free, at, norms, strict=True)}
        return factors, f"gradient quotient {first:.4g} → {best:.4g}, the best of {self.steps} steps"


def gradient_quotient(loss: Tensor, weights: Sequence[Tensor], epsilon: float = 1e-5) -> Tensor:
    """(1/P) Σ |(g − H g) / (g + ε·sgn g) − 1|, differentiable with respect to the weights.

    Raises:
        DataError: the loss has no second derivatives.

    >>> x = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> round(gradient_quotient((3 * x * x).sum() / 2, [x], 1e-9).item(), 6)        # H = 3: |(g − 3g)/g − 1| = 3
    3.0
    """
    found: Any = torch.autograd.grad(loss, weights, create_graph=True, allow_unused=True)
    used = [(weight, g) for weight, g in zip(weights, found, strict=True) if g is not None]
    try:
        half = torch.stack([(g * g).sum() / 2 for _, g in used]).sum()
        products: Any = torch.autograd.grad(half, [weight for weight, _ in used], create_graph=True, allow_unused=True)
    except RuntimeError as error:
        reason = str(error).partition("\n")[0]
        raise DataError(
            f"the loss has no second derivatives ({reason}): use operations that torch can differentiate twice"
        ) from error
    total = loss.new_zeros(())
    for (_, g), product in zip(used, products, strict=True):
        bent = g if product is None else g - product
        sign = torch.where(g.detach() >= 0, 1.0, -1.0).to(g.dtype)
        total = total + (bent / (g + epsilon * sign) - 1).abs().sum()
    return total / sum(weight.numel() for weight, _ in used)
