"""GradInit: scales of tensors for which the first step of the optimizer helps the most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from math import inf, isfinite
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_map

from fanin.data_driven.batch import samples
from fanin.data_driven.held import Held
from fanin.data_driven.passes import Method, Start, Weights
from fanin.data_driven.slopes import finite, learned
from fanin.errors import ArgumentError, DataError
from fanin.plans import Plan
from fanin.recipes import Recipe
from fanin.torch.probe.batch import Loss, arguments, scalar

_METHOD = Method("GradInit", "GradInit", "Zhu et al. 2021, arXiv 2102.08098")
Optimizer = Literal["sgd", "adam"]


def gradinit(
    model: nn.Module,
    inputs: Any,
    loss: Loss,
    *,
    optimizer: Optimizer = "sgd",
    eta: float = 0.1,
    gamma: float = inf,
    steps: int = 390,
    lr: float = 1e-3,
    least: float = 0.01,
    clip: float = 1.0,
    recipe: str | Recipe = "lecun",
    plan: Plan | None = None,
    seed: int = 0,
    sources: Weights | None = None,
) -> Plan:
    """Learn a scale α for each parameter so that the loss after the optimizer's first step is as low as possible.

    Minimize L(S̃; θ − η·A[g]) / η over α, where θ = α·θ₀, g is the gradient on the samples S, A[g] = g for SGD and
    sgn g for Adam, and S̃ shares half its samples with S; wherever ‖g‖ > γ (L2 norm for SGD, L1 for Adam) that norm is
    lowered instead. α is learned by Adam from 1, its gradient clipped, and stays ≥ `least` (0 for vectors). W/W₀ is
    one number for each tensor, so the plan holds it as a factor and gives the same bits to a fresh model. Tied
    weights share one α.

    Of the batch the first two thirds are S, the last two thirds S̃. Costs two passes forward and backward a step, and
    second derivatives where γ is finite. In evaluation mode; what is kept, and errors, are as for `fanin.lsuv`.

    Args:
        model, inputs, plan, seed, sources: as for `fanin.lsuv`; every tensor's first dimension is the samples.
        loss: a function of the output, or integer labels for cross entropy, one row for each sample.
        optimizer: "sgd" or "adam": which first step is meant.
        eta: η, that step's learning rate.
        gamma: γ; infinite for no bound.
        steps, lr: of learning α.
        least: the lowest α of matrices and kernels.
        clip: the largest slope of an α that is used.
        recipe: what is drawn before.

    Raises:
        ArgumentError: a number out of range, an unknown optimizer, no loss.
        DataError: as for `fanin.lsuv`, and a batch of fewer than three samples.

    Source: Zhu et al. 2021 (arXiv 2102.08098), and the authors' code.

    >>> model, batch = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4)), torch.randn(30, 8)
    >>> made = gradinit(model, batch, torch.arange(30) % 4, steps=5, lr=0.1)
    >>> made["0.weight"].initializer.std != 8**-0.5
    True
    """
    if loss is None:
        raise ArgumentError("gradinit needs a loss: a function of the output, or labels")
    if optimizer not in ("sgd", "adam"):
        raise ArgumentError(f"gradinit: optimizer must be 'sgd' or 'adam', got {optimizer!r}")
    positive = {"eta": eta, "gamma": gamma, "steps": steps, "lr": lr, "clip": clip}
    bad = [name for name, value in positive.items() if not value > 0 or (name != "gamma" and not isfinite(value))]
    if bad:
        raise ArgumentError(f"gradinit: {', '.join(bad)} must be a positive number")
    if type(steps) is not int or not 0 <= least < inf:
        raise ArgumentError(f"gradinit: steps must be an integer and least a number from 0, got {steps} and {least}")
    start = Start.of(model, inputs, plan, recipe, seed, sources)
    if samples(inputs) < 3:
        raise DataError(
            f"gradinit needs three samples or more, to step on some and measure on others: got {samples(inputs)}"
        )
    descent = _Descent(start, loss, optimizer, eta, gamma, steps, lr, least, clip)
    return learned(start, _METHOD, lambda _: True, descent.run)


@dataclass(frozen=True, slots=True)
class _Descent:
    start: Start
    loss: Loss
    optimizer: Optimizer
    eta: float
    gamma: float
    steps: int
    lr: float
    least: float
    clip: float

    def run(self, free: list[Held]) -> tuple[dict[str, float], str]:
        with sdpa_kernel(SDPBackend.MATH) if isfinite(self.gamma) else nullcontext():
            return self._descend(free)

    def _descend(self, free: list[Held]) -> tuple[dict[str, float], str]:
        drawn = {held.name: held.tensor.detach() for held in free}
        alphas = {name: torch.ones((), dtype=t.dtype, device=t.device, requires_grad=True) for name, t in drawn.items()}
        adam = torch.optim.Adam(alphas.values(), lr=self.lr)
        third = samples(self.start.inputs) // 3
        first, second = self._rows(0, 2 * third), self._rows(third, 3 * third)
        before = after = 0.0
        for step in range(self.steps + 1):
            weights = {name: alphas[name] * values for name, values in drawn.items()}
            here = self._loss(weights, first)
            bounded = isfinite(self.gamma)
            slopes: Any = torch.autograd.grad(here, list(weights.values()), create_graph=bounded, allow_unused=True)
            gradients = dict(zip(weights, slopes, strict=True))
            stepped = {name: self._stepped(weight, gradients[name]) for name, weight in weights.items()}
            reached = self._loss(stepped, second)
            after = finite(reached, "the loss after a step")
            before = before if step else after
            if step == self.steps:
                break
            slope = self._norm([gradient for gradient in gradients.values() if gradient is not None])
            above = finite(slope, "the gradient's norm") > self.gamma
            aim = slope if above else reached / self.eta
            adam.zero_grad()
            aim.backward(inputs=list(alphas.values()))
            self._move(alphas, drawn, adam)
        factors = {name: float(alpha.detach()) for name, alpha in alphas.items()}
        return factors, f"loss after one step of {self.optimizer} {before:.4g} → {after:.4g} in {self.steps} steps"

    def _move(self, alphas: Mapping[str, Tensor], drawn: Mapping[str, Tensor], adam: torch.optim.Adam) -> None:
        for alpha in alphas.values():
            if alpha.grad is not None:
                alpha.grad.clamp_(-self.clip, self.clip)
        adam.step()
        with torch.no_grad():
            for name, alpha in alphas.items():
                alpha.clamp_(min=self.least if drawn[name].dim() > 1 else 0.0)

    def _norm(self, gradients: Sequence[Tensor]) -> Tensor:
        if self.optimizer == "adam":
            return torch.stack([gradient.abs().sum() for gradient in gradients]).sum()
        return torch.stack([gradient.square().sum() for gradient in gradients]).sum().sqrt()

    def _stepped(self, weight: Tensor, gradient: Tensor | None) -> Tensor:
        """θ − η·A[g]; no slope goes back through A[g], as in the authors' code."""
        if gradient is None:
            return weight
        direction = gradient.detach()
        return weight - self.eta * (direction.sign() if self.optimizer == "adam" else direction)

    def _loss(self, weights: Mapping[str, Tensor], rows: tuple[Any, Loss]) -> Tensor:
        inputs, loss = rows
        args, kwargs = arguments(inputs)
        with self.start.called():
            output = functional_call(self.start.model, dict(weights), args, kwargs)
        return scalar(loss, output)

    def _rows(self, first: int, end: int) -> tuple[Any, Loss]:
        """Some samples of the batch, with their labels."""
        count = samples(self.start.inputs)

        def cut(leaf: Any) -> Any:
            return leaf[first:end] if isinstance(leaf, Tensor) and leaf.dim() and leaf.shape[0] == count else leaf

        return tree_map(cut, self.start.inputs), cast("Loss", cut(self.loss))
