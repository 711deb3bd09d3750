"""Between-layer balance: every layer's gradient in the same proportion to its weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from math import exp, log, sqrt
from typing import Any

import torch
from torch import Tensor

from fanin.data_driven.held import Held
from fanin.data_driven.measuring import Change, Product
from fanin.data_driven.passes import Start, once
from fanin.data_driven.rescaling import Rescaling
from fanin.torch.probe.batch import Loss, scalar, tensors_in


@dataclass(slots=True)
class Balance:
    """Rounds of: measure r_k = √(E g²/E w²) of each layer, multiply W_k by √(r_k/r̄), and let biases follow.

    r̄ is the geometric mean of all r_k, times std_out^(1/K), which brings the output's deviation to 1. For a network of
    positively homogeneous layers in a row the output does not change otherwise and r_k falls as W_k² grows, so that one
    round is enough.

    Attributes:
        start: the model.
        loss: as `fanin.check` takes it.
        rounds: how many at most.
        tolerance: by how much the ratios may differ from their mean, relative to it.
        sizes: mean |W x| of each layer, as last measured.
        found: the largest relative difference that was left.
    """

    start: Start
    loss: Loss
    rounds: int
    tolerance: float
    sizes: dict[str, float] = field(default_factory=dict[str, float])
    found: float = 0.0

    def run(self, rescaling: Rescaling) -> None:
        """Balance the layers that the first pass has scaled."""
        uses = {held.name: held.uses for held in rescaling.parameters.all}
        layers = [held for held in rescaling.parameters.all if held.told and held.uses]
        if layers:
            self._balance(layers, rescaling)
        for held in rescaling.parameters.all:
            held.uses = uses[held.name]

    def _balance(self, layers: list[Held], rescaling: Rescaling) -> None:
        _reopen(rescaling)
        rescaling.measure = self._size
        once(self.start, rescaling)
        for done in range(self.rounds + 1):
            ratios, deviation = self._ratios(layers)
            if not ratios:
                return
            target = exp(sum(map(log, ratios.values())) / len(ratios)) * deviation ** (1 / len(ratios))
            self.found = max(abs(ratio / target - 1) for ratio in ratios.values())
            if self.found <= self.tolerance or done == self.rounds:
                break
            scales = {name: sqrt(ratio / target) for name, ratio in ratios.items()}
            _reopen(rescaling)
            rescaling.measure = partial(self._scale, scales)
            once(self.start, rescaling)
        for held in layers:
            held.told = [f"{held.told[0]}; then balanced between layers"]

    def _size(self, product: Product) -> Change:
        self.sizes[product.name] = float(product.values.abs().float().mean())
        return Change(1.0, "")

    def _scale(self, scales: dict[str, float], product: Product) -> Change:
        """The factor of one layer; its bias follows the scale of its input as well."""
        size, scale = float(product.values.abs().float().mean()), scales.get(product.name, 1.0)
        before = self.sizes[product.name]
        self.sizes[product.name] = size * scale
        bias = None
        if product.settable and product.bias is not None:
            follow = scale * (size / before if before else 1.0)
            bias = product.bias.detach().double().flatten().cpu().numpy() * follow
        return Change(scale, "", bias)

    def _ratios(self, layers: list[Held]) -> tuple[dict[str, float], float]:
        """r of each layer that a gradient reaches, and the output's mean deviation over units."""
        with torch.enable_grad():
            output = self.start.forward()
            value, weights = scalar(self.loss, output), [held.tensor for held in layers]
            # torch's stubs do not say that the gradient of an unused parameter is None.
            gradients: Any = torch.autograd.grad(value, weights, allow_unused=True)
        out = next(tensor for tensor in tensors_in(output) if tensor.is_floating_point()).detach().float()
        spread = float(out.std(0, correction=0).mean()) if out.shape[0] > 1 else 0.0
        ratios = {held.name: _ratio(held.tensor, g) for held, g in zip(layers, gradients, strict=True) if g is not None}
        return {name: ratio for name, ratio in ratios.items() if ratio > 0}, spread or 1.0


def _ratio(weight: Tensor, gradient: Tensor) -> float:
    size = float(weight.detach().double().square().mean())
    return sqrt(float(gradient.to_dense().double().square().mean()) / size) if size else 0.0


def _reopen(rescaling: Rescaling) -> None:
    """Let each layer be measured again; of what was said about it the first measurement stays."""
    for held in rescaling.parameters.all:
        if held.told:
            held.told = held.told[:1]
        if held.told or held.values is not None:
            held.looks = []
