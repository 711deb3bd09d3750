"""The moments of a weight as random numbers: from the plan where there is one, else from its values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor

from fanin.torch.probe.moments import Moments, moments

_GLANCE = 8
_SAMPLE = 1 << 14
_EXCESS = 0.2

Laws = Mapping[str, tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Taps:
    """Mean and variance of a weight's values at each place of its receptive field (a scalar for matrices)."""

    mean: Tensor
    variance: Tensor

    @property
    def centred(self) -> bool:
        """Every mean is zero."""
        return not bool(self.mean.any())


def taps(name: str, weight: Tensor, receptive: tuple[int, ...], units: int, seen: Moments, laws: Laws) -> Taps | str:
    """The weight as independent draws; the reason, where its values are plainly not (identity, Dirac, mirrored)."""
    if _is_mirrored(weight):
        return f"half of {name!r} mirrors the other half"
    nonzero = (1 - seen.zeros) * weight.numel()
    if seen.non_finite:
        return f"{name!r} holds values that are not finite"
    if 0 < nonzero < 2 * units < weight.numel():
        return f"{name!r} has too few values that are not zero for a law"
    if name in laws:
        mean, std = laws[name]
        share = _shares(weight, receptive, seen)
        return Taps(share.sign() * mean, share * std**2)
    mean = _significant(seen.mean, seen.std, weight.numel())
    return _measured(weight, receptive, mean)


def _shares(weight: Tensor, receptive: tuple[int, ...], seen: Moments) -> Tensor:
    """How the places of the receptive field share the variance: evenly, unless some hold nothing."""
    field = tuple(weight.shape[d] for d in receptive)
    even = torch.ones(field, dtype=torch.float64, device=weight.device)
    if not field or not seen.zeros or not seen.second:
        return even
    held = _measured(weight, receptive, 0.0).variance
    return held / held.mean() if bool((held == 0).any()) else even


def normal_enough(weight: Tensor, summed: int) -> bool:
    """A sum of so many products with such weights is nearly Gaussian, whatever they are multiplied with.

    The excess kurtosis of a sum of n terms is that of a term over n.
    """
    flat = weight.detach().reshape(-1)
    stride = max(1, flat.numel() // _SAMPLE)
    values = flat[::stride].double()
    square = float(values.square().mean())
    if not square:
        return True
    kurtosis = float(values.pow(4).mean()) / square**2
    return abs(kurtosis - 3) / max(1, summed) <= _EXCESS


def _is_mirrored(weight: Tensor) -> bool:
    """The second half along one of the first two dimensions is minus the first, and not zero."""
    halves = [weight.detach().chunk(2, axis) for axis in range(min(2, weight.ndim)) if not weight.shape[axis] % 2]
    return any(len(pair) == 2 and _opposite(*pair) for pair in halves)


def _opposite(one: Tensor, other: Tensor) -> bool:
    # A corner tells almost always; only then all values are read.
    corner = (slice(_GLANCE),) * min(2, one.ndim)
    return bool(torch.equal(one[corner], -other[corner]) and one.any() and torch.equal(one, -other))


def _measured(weight: Tensor, receptive: tuple[int, ...], mean: float) -> Taps:
    others = [d for d in range(weight.ndim) if d not in receptive]
    count = weight.numel() / max(1, _size(weight, receptive))
    second = torch.linalg.vector_norm(weight.detach(), dim=others, dtype=torch.float64) ** 2 / count
    average = weight.detach().mean(dim=others, dtype=torch.float64) if mean else torch.zeros_like(second)
    return Taps(average, (second - average**2).clamp_min(0))


def _size(weight: Tensor, dims: tuple[int, ...]) -> int:
    size = 1
    for d in dims:
        size *= weight.shape[d]
    return size


def bias_moments(name: str, bias: Tensor | None, laws: Laws) -> tuple[float, float]:
    """(E[b], E[b²]) of a bias; zeros without one."""
    if bias is None:
        return 0.0, 0.0
    if name in laws:
        mean, std = laws[name]
        return mean, mean**2 + std**2
    seen = moments(bias)
    return _significant(seen.mean, seen.std, bias.numel()), seen.second


def _significant(mean: float, std: float, count: int) -> float:
    """The mean, where it is more than five standard errors from zero: a sample's mean is never quite zero."""
    return mean if abs(mean) > 5 * std / sqrt(count) else 0.0
