"""E[f(u)·f(v)] of correlated Gaussians u, v, by Hermite expansion (Mehler's formula).

    f(m + s·z) = Σₖ aₖ·Heₖ(z)/√k!        E[f(u)·f(v)] = Σₖ aₖ(u)·aₖ(v)·ρᵏ

Source: Daniely et al. 2016 (arXiv:1602.05897), the dual activation.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fanin.torch.probe.quadrature import Pointwise, grid, interpolated, spaced

_TERMS = 24
_DIRECT = 64
_MANY = 4096


def dual(function: Pointwise, values: Tensor, mean: Tensor, second: Tensor, passed: Tensor) -> Tensor | None:
    """Pairs behind a nonlinearity.

    Args:
        function: the nonlinearity.
        values: E[h·h′] before it, (samples, positions, positions).
        mean: E[h], (samples, positions).
        second: E[h²], likewise.
        passed: E[f(h)²], likewise; what the expansion leaves out goes to the next power of ρ.

    >>> one = torch.ones(1, 2, dtype=torch.float64)
    >>> table = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]], dtype=torch.float64)
    >>> found = dual(torch.relu, table, 0 * one, one, one / 2)
    >>> [round(number, 4) for number in found[0, 0].tolist()]
    [0.5, 0.1592]
    """
    spread = (second - mean**2).clamp_min(0).sqrt()
    found = _coefficients(function, mean.reshape(-1), spread.reshape(-1))
    if found is None:
        return None
    terms = found.reshape(*mean.shape, _TERMS)
    scale = (spread[:, :, None] * spread[:, None, :]).clamp_min(torch.finfo(values.dtype).tiny)
    rho = ((values - mean[:, :, None] * mean[:, None, :]) / scale).clamp(-1, 1)
    rest = (passed - terms.square().sum(-1)).clamp_min(0).sqrt()
    total = rest[:, :, None] * rest[:, None, :]
    for k in reversed(range(_TERMS)):
        total = total * rho + terms[:, :, None, k] * terms[:, None, :, k]
    return total


def _coefficients(function: Pointwise, mean: Tensor, spread: Tensor) -> Tensor | None:
    if mean.numel() <= _DIRECT:
        return _expanded(function, mean, spread)
    if bool((mean != mean[0]).any()):
        return _expanded(function, mean, spread) if mean.numel() <= _MANY else None
    stops = spaced(spread**2)
    if stops is None:
        return None
    table = _expanded(function, mean[:1].expand(stops.shape), stops.sqrt())
    return None if table is None else interpolated(table, spread**2, stops)


def _expanded(function: Pointwise, mean: Tensor, spread: Tensor) -> Tensor | None:
    z, weights = grid(mean.device)
    basis = [torch.ones_like(z), z]
    for k in range(1, _TERMS - 1):
        basis.append((z * basis[k] - k**0.5 * basis[k - 1]) / (k + 1) ** 0.5)
    try:
        value = function(mean[:, None] + spread[:, None] * z)
    except (RuntimeError, TypeError, ValueError):
        return None
    return value @ (torch.stack(basis, dim=1) * weights[:, None])
