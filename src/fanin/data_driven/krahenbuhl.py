"""Data-dependent initialization: each unit normalized on a batch, then the layers balanced against one another."""

from __future__ import annotations

from dataclasses import replace
from math import isfinite
from typing import Any

from torch import nn

from fanin.data_driven.balancing import Balance
from fanin.data_driven.batch import samples
from fanin.data_driven.passes import Method, Start, Weights, rescaled
from fanin.data_driven.units import unit_statistics
from fanin.errors import ArgumentError
from fanin.plans import Plan
from fanin.recipes import Recipe
from fanin.torch.probe.batch import Loss

_METHOD = Method("within-layer", "within-layer", "Krähenbühl et al. 2015, arXiv 1511.06856")


def within_layer(
    model: nn.Module,
    inputs: Any,
    *,
    loss: Loss = None,
    between: bool = True,
    bias: float = 0.0,
    rounds: int = 10,
    tolerance: float = 0.01,
    recipe: str | Recipe = "lecun",
    plan: Plan | None = None,
    seed: int = 0,
    sources: Weights | None = None,
) -> Plan:
    """Give each unit of each layer mean `bias` and deviation 1 on a batch, then balance the layers' gradients.

    Within a layer, in one forward pass, for each output unit c: W_c /= σ_c and b_c = β − μ_c/σ_c, with μ and σ of W x
    over samples and positions. Between layers (`between`), up to `rounds` times: r_k = √(E g²/E w²) from one backward
    pass, W_k *= √(r_k/r̄) with r̄ the geometric mean, and biases by the scale of their layer and its input; the output
    keeps its scale, and all layers change at the same relative rate. A network that is not positively homogeneous, or
    not a row of layers, may not reach the tolerance: a note of the plan says what was left.

    Factors of units and biases are numbers in the plan's laws, so that it gives the same bits to a fresh model. What is
    kept, and errors, are as for `fanin.lsuv`.

    Args:
        model, inputs, plan, seed, sources: as for `fanin.lsuv`.
        loss: a function of the output, integer labels for cross entropy, or None for a fixed random linear function.
        between: balance the layers.
        bias: β; 0.1 lets more ReLU units start active.
        rounds: of the balance, at most.
        tolerance: when it is reached: the largest relative distance of an r_k from r̄.
        recipe: what is drawn before; the law's own scale does not matter.

    Raises:
        ArgumentError: a number out of range.
        DataError: as for `fanin.lsuv`, and a batch with one value per unit.

    Source: Krähenbühl, Doersch, Donahue and Darrell 2015 (arXiv 1511.06856), algorithms 1 and 2, and their magic_init.

    >>> import torch
    >>> model, batch = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 4)), torch.randn(256, 8)
    >>> made = within_layer(model, batch, between=False)
    >>> bool((model(batch).std(0, correction=0) - 1).abs().max() < 1e-4)
    True
    """
    if not isfinite(bias) or rounds < 0 or not tolerance > 0:
        raise ArgumentError(
            f"within_layer: bias must be finite, rounds not negative and tolerance positive, got {bias}, {rounds} and "
            f"{tolerance}"
        )
    start = Start.of(model, inputs, plan, recipe, seed, sources)
    balance = Balance(start, loss, rounds, tolerance)
    measure = unit_statistics(bias, 1.0, samples(inputs))
    made = rescaled(start, measure, _METHOD, balance.run if between else None)
    if not between:
        return made
    note = f"within-layer: the layers' gradient ratios are within {balance.found:.1%} of their mean"
    return replace(made, notes=(*made.notes, note))
