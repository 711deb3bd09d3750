"""What a nonlinearity does to a Gaussian: E[f(h)], E[f(h)²] and E[f′(h)²] for h ~ N(mean, second − mean²)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Pointwise = Callable[[Tensor], Tensor]

# An even number of midpoints: none falls on the kink of ReLU, whose integrals then come out exact by symmetry.
_NODES = 1024
_REACH = 8.0
_TABLE = 257
_DECADES = 12
_DIRECT = 512


@dataclass(frozen=True, slots=True)
class Passed:
    """Moments after the nonlinearity and the mean square of its slope, one value per entry of the input maps."""

    mean: Tensor
    second: Tensor
    slope: Tensor


def gaussian_pass(function: Pointwise, mean: Tensor, second: Tensor) -> Passed | None:
    """Integrate `function` against N(mean, second − mean²), entry by entry; None where that is not possible.

    Few entries are integrated directly; many of zero mean are read from a table in log q over 12 decades
    (relative error below 10⁻³).

    >>> q = torch.tensor([2.0], dtype=torch.float64)
    >>> passed = gaussian_pass(torch.relu, torch.zeros_like(q), q)
    >>> round(passed.second.item(), 6), round(passed.slope.item(), 6)
    (1.0, 0.5)
    """
    mean, second = torch.broadcast_tensors(mean, second)
    if second.numel() <= _DIRECT:
        return _direct(function, mean.reshape(-1), second.reshape(-1), second.shape)
    if bool(mean.any()):
        return None
    top = float(second.max())
    if not 0 < top < float("inf"):
        return None
    grid = top * torch.logspace(-_DECADES, 0, _TABLE, dtype=torch.float64, device=second.device)
    table = _direct(function, torch.zeros_like(grid), grid, grid.shape)
    return None if table is None else _read(table, second, top)


def _direct(function: Pointwise, mean: Tensor, second: Tensor, shape: torch.Size) -> Passed | None:
    step = 2 * _REACH / _NODES
    z = (torch.arange(_NODES, dtype=torch.float64, device=mean.device) + 0.5) * step - _REACH
    weights = torch.exp(-z * z / 2)
    weights = weights / weights.sum()
    spread = (second - mean**2).clamp_min(0).sqrt()
    h = (mean[:, None] + spread[:, None] * z).requires_grad_()
    try:
        with torch.enable_grad():
            value = function(h.clone())
            (slope,) = torch.autograd.grad(value.sum(), h)
    except (RuntimeError, TypeError, ValueError):
        return None
    value = value.detach()
    integrals = [(integrand @ weights).reshape(shape) for integrand in (value, value**2, slope**2)]
    return Passed(*integrals)


def _read(table: Passed, second: Tensor, top: float) -> Passed:
    place = (torch.log10((second / top).clamp_min(10.0**-_DECADES)) / _DECADES + 1) * (_TABLE - 1)
    low = place.floor().clamp(0, _TABLE - 2).long()
    part = place - low
    return Passed(
        *(column[low] * (1 - part) + column[low + 1] * part for column in (table.mean, table.second, table.slope))
    )
