"""Data-dependent initialization of weight-normed layers."""

from __future__ import annotations

from dataclasses import replace
from math import isfinite
from typing import Any

from torch import nn

from fanin.data_driven.batch import samples
from fanin.data_driven.passes import Method, Start, Weights, rescaled
from fanin.data_driven.units import unit_statistics
from fanin.errors import ArgumentError, DataError
from fanin.initializers import Normal
from fanin.plans import Plan
from fanin.plans.steps import Draw
from fanin.recipes import Recipe

_NAMES = ((".original0", ".original1"), ("_g", "_v"))
_METHOD = Method("weight norm", "weight norm", "Salimans & Kingma 2016, arXiv 1602.07868")


def weight_norm(
    model: nn.Module,
    inputs: Any,
    *,
    scale: float = 1.0,
    std: float = 0.05,
    recipe: str | Recipe = "lecun",
    plan: Plan | None = None,
    seed: int = 0,
    sources: Weights | None = None,
) -> Plan:
    """Initialize weight-normed layers w = g·v/‖v‖ so that each unit has mean 0 and deviation `scale` on a batch.

    v ~ N(0, std²); with t = v·x/‖v‖ of mean μ and deviation σ per unit: g = scale/σ and b = −μ·scale/σ, layer after
    layer in one forward pass. Other layers keep what the recipe draws. What is kept, and errors, are as for
    `fanin.lsuv`.

    Args:
        model: with `torch.nn.utils.parametrizations.weight_norm` (or the older `torch.nn.utils.weight_norm`).
        inputs, plan, seed, sources: as for `fanin.lsuv`; a given plan also decides about v.
        scale: the deviation of each unit.
        std: of v, whose length does not matter.
        recipe: what other tensors are drawn from.

    Raises:
        ArgumentError: scale or std not positive.
        DataError: no layer is weight-normed; else as for `fanin.lsuv`.

    Source: Salimans and Kingma 2016 (arXiv 1602.07868), section 3.

    >>> import torch
    >>> layer, batch = torch.nn.utils.parametrizations.weight_norm(nn.Linear(8, 3)), torch.randn(64, 8)
    >>> made = weight_norm(layer, batch)
    >>> bool((layer(batch).std(0, correction=0) - 1).abs().max() < 1e-4)
    True
    """
    if not (isfinite(scale) and isfinite(std) and scale > 0 and std > 0):
        raise ArgumentError(f"weight_norm: scale and std must be positive numbers, got {scale} and {std}")
    start = Start.of(model, inputs, plan, recipe, seed, sources)
    directions = _directions(start)
    if plan is None:
        laws = {name: Normal(std=std) for name in directions if isinstance(start.plan[name].action, Draw)}
        start = replace(start, plan=start.plan.override(laws, "weight norm divides by its length"))
    return rescaled(start, unit_statistics(0.0, scale, samples(inputs)), _METHOD, normed_only=True)


def _directions(start: Start) -> list[str]:
    """The tensors v of the model's weight norms, by the names that torch gives them.

    Raises:
        DataError: there are none.
    """
    stored = {item.name for item in start.stored}
    swapped = [name.removesuffix(g) + v for name in stored for g, v in _NAMES if name.endswith(g)]
    found = [name for name in swapped if name in stored]
    if not found:
        raise DataError(
            f"no layer of {type(start.model).__name__} is weight-normed: wrap its layers with "
            "torch.nn.utils.parametrizations.weight_norm, or use fanin.data_driven.within_layer"
        )
    return found
