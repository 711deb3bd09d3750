"""LSUV: unit output variance, layer after layer, in one forward pass."""

from __future__ import annotations

from math import isfinite
from typing import Any

from torch import nn

from fanin.data_driven.batch import samples
from fanin.data_driven.measuring import unit_variance
from fanin.data_driven.passes import Method, Start, Weights, rescaled
from fanin.errors import ArgumentError
from fanin.plans import Plan
from fanin.recipes import Recipe

_LSUV = Method("LSUV", "LSUV", "Mishkin & Matas 2015, arXiv 1511.06422")


def lsuv(
    model: nn.Module,
    inputs: Any,
    *,
    recipe: str | Recipe = "orthogonal",
    plan: Plan | None = None,
    tolerance: float = 0.01,
    seed: int = 0,
    sources: Weights | None = None,
) -> Plan:
    """Layer-sequential unit variance: draw the weights, give the output of each layer variance 1, return the plan.

    y = W x is linear in W, so when the pass reaches a layer its output is measured, W and y are both multiplied by
    1/std(y), and the pass goes on: one forward pass scales all layers, exactly for this batch. Where the operation adds
    a bias b, W gets the factor f with Var(f·y + b) = 1. The variance is that of all values of the output; packed
    blocks (q, k, v; the gates of recurrent cells) are measured each for itself.

    The model runs in evaluation mode; its modes, hooks, gradients, batch statistics and all random states stay as they
    are. The plan says for each weight what was measured, and `fanin.materialize(fresh_model, plan, seed)` gives the
    same bits without the batch.

    A weight is scaled where it is first used, tied and reused weights once. Kept as they are: frozen parameters, steps
    that keep or compute values, weights whose output is zero (zero-initialized branches) or that the pass never
    reaches, and the recurrent matrices of LSTM, GRU and RNN, of which the input's part of the gates' pre-activations is
    normalized. The plan says so for each. Of a weight norm its magnitude g is scaled.

    Args:
        model: a module with values; it is changed in place. On any error it is as it was before.
        inputs: a batch; a tuple of positional or a mapping of keyword arguments.
        recipe: what is drawn before; the paper starts from orthogonal matrices.
        plan: use this plan instead (of `fanin.plan`, or a loading's with Copy steps, whose values are scaled).
        tolerance: a layer whose variance differs from 1 by at most this is left as it is.
        seed: from 0 to 2⁶⁴ − 1.
        sources: weights by the name that the plan's Copy steps give them; all others are files.

    Raises:
        ArgumentError: a negative tolerance, not a model.
        DataError: a batch that cannot be measured (NaN, all zeros, on another device), a model without values or with
            sharded ones, a forward pass that fails, an output that is not finite, no layer.
        PlanError, TraceError: as `fanin.plan` and `fanin.materialize`.

    Source: Mishkin and Matas 2015 (arXiv 1511.06422), which takes several passes for each layer.

    >>> import torch
    >>> model, batch = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 32)), torch.randn(256, 8)
    >>> made = lsuv(model, batch)
    >>> round(model(batch).var(correction=0).item(), 4)
    1.0
    """
    if not isfinite(tolerance) or tolerance < 0:
        raise ArgumentError(f"tolerance must be a number from 0, got {tolerance!r}")
    start = Start.of(model, inputs, plan, recipe, seed, sources)
    return rescaled(start, unit_variance(float(tolerance), samples(inputs)), _LSUV)
