"""What a nonlinearity does to random values: E[f(h)], E[f(h)²] and E[f′(h)²], entry by entry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, log10

import torch
from torch import Tensor

Pointwise = Callable[[Tensor], Tensor]

# An even number of midpoints: none falls on the kink of ReLU, whose integrals then come out exact by symmetry.
_NODES = 1024
_REACH = 8.0
_STOPS = 5
_STOPS_A_DECADE = 21
_DECADES = 12
_DIRECT = 64
_MANY = 4096
_QUANTILES = 2048
_SEED = 7


@dataclass(frozen=True, slots=True)
class Passed:
    """Moments after the nonlinearity and the mean square of its slope, one value per entry of the input maps."""

    mean: Tensor
    second: Tensor
    slope: Tensor


def grid(device: torch.device) -> tuple[Tensor, Tensor]:
    """Nodes and weights for integrals against N(0, 1)."""
    step = 2 * _REACH / _NODES
    z = (torch.arange(_NODES, dtype=torch.float64, device=device) + 0.5) * step - _REACH
    weights = torch.exp(-z * z / 2)
    return z, weights / weights.sum()


def gaussian_pass(function: Pointwise, mean: Tensor, second: Tensor) -> Passed | None:
    """Integrate `function` against N(mean, second − mean²), entry by entry; None where that is not possible.

    Few entries are integrated directly; many of one mean are read from a table in log variance over 12 decades
    (relative error below 10⁻³).

    >>> q = torch.tensor([2.0], dtype=torch.float64)
    >>> passed = gaussian_pass(torch.relu, torch.zeros_like(q), q)
    >>> round(passed.second.item(), 6), round(passed.slope.item(), 6)
    (1.0, 0.5)
    """
    mean, second = torch.broadcast_tensors(mean, second)
    z, weights = grid(second.device)
    variance = (second - mean**2).clamp_min(0)

    def integrated(m: Tensor, v: Tensor) -> Tensor | None:
        return _integrals(function, m[:, None] + v.sqrt()[:, None] * z, weights)

    if second.numel() <= _DIRECT:
        return _passed(integrated(mean.reshape(-1), variance.reshape(-1)), second.shape)
    level = mean.reshape(-1)[0]
    if bool((mean != level).any()):
        whole = second.numel() <= _MANY
        return _passed(integrated(mean.reshape(-1), variance.reshape(-1)), second.shape) if whole else None
    stops = spaced(variance)
    table = None if stops is None else integrated(level.expand(stops.shape), stops)
    if stops is None or table is None:
        return None
    return _passed(interpolated(table, variance.reshape(-1), stops), second.shape)


def quantile_pass(function: Pointwise, quantiles: Tensor, second: Tensor) -> Passed | None:
    """The same for h = √second·(one of `quantiles`, equally likely)."""
    weights = torch.full_like(quantiles, 1 / quantiles.numel())
    few = second.numel() <= _DIRECT
    stops = second.reshape(-1) if few else spaced(second)
    if stops is None:
        return None
    table = _integrals(function, stops.sqrt()[:, None] * quantiles, weights)
    if table is None or few:
        return _passed(table, second.shape)
    return _passed(interpolated(table, second.reshape(-1), stops), second.shape)


def normal_quantiles(device: torch.device, count: int = _QUANTILES) -> Tensor:
    """Equally likely values of N(0, 1), with unit variance."""
    p = (torch.arange(count, dtype=torch.float64, device=device) + 0.5) / count
    return standardised(torch.special.ndtri(p))


def standardised(values: Tensor) -> Tensor:
    """Divided by the root of the mean square."""
    return values / values.square().mean().sqrt().clamp_min(torch.finfo(values.dtype).tiny)


def convolved(one: Tensor, other: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Equally likely values of √first·a + √second·b for independent a and b, standardised."""
    generator = torch.Generator().manual_seed(_SEED)
    shuffle = torch.randperm(other.numel(), generator=generator).to(other.device)
    return standardised(first.sqrt() * one + second.sqrt() * other[shuffle])


def spaced(positive: Tensor) -> Tensor | None:
    """Stops in equal steps of the logarithm from the least to the greatest value, over at most 12 decades.

    None where the greatest is 0 or infinite.
    """
    top = float(positive.max())
    if not 0 < top < float("inf"):
        return None
    low = max(float(positive.min()), top * 10.0**-_DECADES)
    decades = log10(top / low)
    count = _STOPS + ceil(_STOPS_A_DECADE * decades)
    return top * torch.logspace(-decades, 0, count, dtype=torch.float64, device=positive.device)


def interpolated(table: Tensor, values: Tensor, stops: Tensor) -> Tensor:
    """Rows of a table over `spaced` stops, read at `values`."""
    steps, decades = stops.numel() - 1, float(torch.log10(stops[-1] / stops[0]))
    share = torch.log10((values / stops[-1]).clamp(10.0**-_DECADES, 1.0))
    place = (share / max(decades, 1e-12) + 1).clamp(0, 1) * steps
    low = place.floor().clamp(0, steps - 1).long()
    part = (place - low)[:, None]
    return table[low] * (1 - part) + table[low + 1] * part


def _integrals(function: Pointwise, values: Tensor, weights: Tensor) -> Tensor | None:
    """E[f], E[f²] and E[f′²] as columns."""
    h = values.detach().clone().requires_grad_()
    try:
        with torch.enable_grad():
            value = function(h.clone())
            (slope,) = torch.autograd.grad(value.sum(), h)
    except (RuntimeError, TypeError, ValueError):
        return None
    value = value.detach()
    return torch.stack([integrand @ weights for integrand in (value, value**2, slope**2)], dim=1)


def _passed(columns: Tensor | None, shape: torch.Size) -> Passed | None:
    return None if columns is None else Passed(*(columns[:, k].reshape(shape) for k in range(3)))


def odd(function: Pointwise) -> bool:
    """f(−h) = −f(h) wherever it is looked at."""
    z, _ = grid(torch.device("cpu"))
    try:
        return bool(torch.allclose(function(z.clone()), -function(-z), rtol=1e-9, atol=1e-12))
    except (RuntimeError, TypeError, ValueError):
        return False
