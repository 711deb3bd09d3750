"""The measure of data-dependent initialization: each unit of a layer gets one mean and one standard deviation."""

from __future__ import annotations

import numpy as np
import torch

from fanin.data_driven.measuring import Change, Measure, Product, unit_variance
from fanin.errors import DataError


def unit_statistics(mean: float, std: float, count: int) -> Measure:
    """Per unit c with outputs of mean μ_c and deviation σ_c: the factor std/σ_c and the bias mean − μ_c·std/σ_c.

    Where the operation adds no bias of its own the mean stays; where units cannot be told apart in the outputs, all of
    them get one factor, as in LSUV.

    Args:
        mean, std: what each unit shall have on this batch.
        count: how many samples are measured; for the words.
    """
    whole = unit_variance(0.0, count)

    def measure(product: Product) -> Change | None:
        if product.channel is None:
            found = whole(product)
            return None if found is None else Change(found.factor * std, f"{found.told}, one factor for all units")
        values = product.values if product.values.dtype == torch.float64 else product.values.float()
        others = [dim for dim in range(values.dim()) if dim != product.channel]
        units = values.shape[product.channel]
        if values.numel() < 2 * units:
            raise DataError(
                f"{product.name!r} gives one value per unit on this batch: a unit's mean and deviation need at least "
                "two samples"
            )
        spread, centre = (each.double().cpu().numpy() for each in torch.std_mean(values, others, correction=0))
        if not (np.isfinite(spread).all() and np.isfinite(centre).all()):
            raise DataError(f"the outputs of {product.name!r} are not finite on this batch: scale the inputs")
        alive = spread > 0
        if not alive.any():
            return None
        factor = np.where(alive, std / np.where(alive, spread, 1.0), 1.0)
        bias = mean - centre * factor if product.settable else None
        return Change(factor, _told(spread[alive], centre, units, count, alive, product), bias)

    return measure


def _told(spread: np.ndarray, centre: np.ndarray, units: int, count: int, alive: np.ndarray, product: Product) -> str:
    low, high = float(spread.min()), float(spread.max())
    dead = int((~alive).sum())
    text = f"measured std {low:.3g} to {high:.3g} over {units} units on {count} samples → each divided by its own"
    if product.settable:
        text += f", bias against means from {float(centre.min()):.3g} to {float(centre.max()):.3g}"
    return text + (f"; {dead} units constant, kept" if dead else "")
