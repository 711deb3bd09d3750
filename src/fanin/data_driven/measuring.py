"""What a pass does with the outputs of one weight, and the measure of LSUV: one standard deviation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite, sqrt

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fanin.data_driven.deviation import deviation
from fanin.errors import DataError


@dataclass(frozen=True, slots=True)
class Product:
    """The outputs of one weight, before a bias is added.

    Attributes:
        name: of the weight.
        values: the outputs.
        channel: their dimension that runs along the weight's units; None where that is not known.
        blocks: the units of each packed block; empty where it is one.
        bias: what the operation adds, shaped so that it can be; None where it adds nothing.
        settable: the bias is a parameter of its own, whose values may be replaced.
    """

    name: str
    values: Tensor
    channel: int | None
    blocks: Sequence[NDArray[np.intp]] = ()
    bias: Tensor | None = None
    settable: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """What is done to a weight and its outputs.

    Attributes:
        factor: a number, or one for each unit.
        told: what was measured, and what was done.
        bias: new values of the bias, one for each unit.
    """

    factor: float | NDArray[np.float64]
    told: str
    bias: NDArray[np.float64] | None = None


Measure = Callable[[Product], Change | None]
"""None where the outputs are zero, so that no factor makes anything of them."""


def unit_variance(tolerance: float, count: int) -> Measure:
    """The measure of LSUV: the outputs of a weight, each packed block for itself, get variance one.

    Args:
        tolerance: a variance as near as this to one is left as it is.
        count: how many samples are measured; for the words.
    """

    def measure(product: Product) -> Change | None:
        spreads = [_spread(product, block) for block in product.blocks or (None,)]
        if not any(spread.std for spread in spreads):
            return None
        factors = [spread.factor(tolerance) for spread in spreads]
        told = ", ".join(_told(spread, factor) for spread, factor in zip(spreads, factors, strict=True))
        what = f"{_stds(spreads)} on {count} sample{'s' * (count != 1)}{told_of_blocks(product.blocks)} → {told}"
        if not product.blocks:
            return Change(factors[0], what)
        each = np.ones(sum(block.size for block in product.blocks))
        for block, factor in zip(product.blocks, factors, strict=True):
            each[block] = factor
        return Change(each, what)

    return measure


def told_of_blocks(blocks: Sequence[NDArray[np.intp]]) -> str:
    """That several blocks were measured, each for itself."""
    return f" in {len(blocks)} packed blocks" if blocks else ""


@dataclass(frozen=True, slots=True)
class _Spread:
    """The outputs y of one block: Var y, its covariance with the bias over units, and the bias's own variance."""

    std: float
    shared: float = 0.0
    of_bias: float = 0.0

    def factor(self, tolerance: float) -> float:
        """The f ≥ 0 with Var(f·y + b) = 1; 1 where that is so already; 1/std where the bias alone varies more."""
        variance = self.std * self.std
        if not variance or abs(variance + 2 * self.shared + self.of_bias - 1) <= tolerance:
            return 1.0
        if self.of_bias >= 1:
            return 1 / self.std
        return (sqrt(self.shared**2 + variance * (1 - self.of_bias)) - self.shared) / variance


def _spread(product: Product, block: NDArray[np.intp] | None) -> _Spread:
    values, bias = product.values.detach(), product.bias
    if block is not None and product.channel is not None:
        places = torch.from_numpy(block).to(values.device)
        values = values.index_select(product.channel, places)
        bias = None if bias is None else bias.index_select(bias.dim() - values.dim() + product.channel, places)
    std = deviation(values)
    if not isfinite(std):
        raise DataError(
            f"the outputs of {product.name!r} are not finite on this batch (std {std}): a layer before it overflows or "
            "the batch holds extreme values; start from smaller weights or scale the inputs"
        )
    if bias is None or not bool(bias.any()):
        return _Spread(std)
    others = [
        dim for dim in range(values.dim()) if bias.dim() < values.dim() - dim or bias.shape[dim - values.dim()] == 1
    ]
    values = values if values.dtype == torch.float64 else values.float()
    mean = (values.mean(others, keepdim=True) if others else values).double()
    wide = bias.double().expand_as(mean)
    shared = float(((mean - mean.mean()) * (wide - wide.mean())).mean())
    return _Spread(std, shared, float(wide.var(correction=0)))


def _stds(spreads: Sequence[_Spread]) -> str:
    return "measured std " + ", ".join(f"{spread.std:.3g}" for spread in spreads)


def _told(spread: _Spread, factor: float) -> str:
    if not spread.std:
        return "zero, kept"
    if factor == 1:
        return "kept, within the tolerance"
    return f"÷{1 / factor:.3g}" if factor < 1 else f"×{factor:.3g}"
