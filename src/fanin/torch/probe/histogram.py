"""Quantiles and a histogram of a tensor, from a fixed-size sample of its values."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from fanin.torch.probe.sampling import places

SAMPLE = 4096
BINS = 32
LEVELS = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts in bins of equal width between the sample's smallest and largest value."""

    low: float
    high: float
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Spread:
    """How the values of a tensor spread: quantiles as (level, value), and a histogram."""

    quantiles: tuple[tuple[float, float], ...]
    histogram: Histogram


def spread(flat: Tensor) -> Spread | None:
    """Quantiles and histogram of a flat tensor's finite values; None where there are none.

    Of more than 4,096 values as many are looked at, at the places frac(i·0.618…)·n: the same ones each time.

    >>> spread(torch.arange(101.0)).quantiles[3]
    (0.5, 50.0)
    """
    values = sample(flat.detach())
    if not values.numel():
        return None
    ordered = values.double().sort().values
    places = torch.tensor(LEVELS, dtype=torch.float64, device=ordered.device) * (ordered.numel() - 1)
    below = places.long()
    high = ordered[(below + 1).clamp_max(ordered.numel() - 1)]
    levels = torch.lerp(ordered[below], high, places - below)
    ends = ordered[[0, -1]]
    width = (ends[1] - ends[0]) / BINS
    edges = ends[0] + width * torch.arange(1, BINS, dtype=torch.float64, device=ordered.device)
    ranks = torch.searchsorted(ordered, edges)
    told = torch.cat((levels, ends, ranks.double())).tolist()
    bounds = [0, *map(int, told[len(LEVELS) + 2 :]), ordered.numel()]
    counts = tuple(high - low for low, high in pairwise(bounds))
    quantiles = tuple(zip(LEVELS, told[: len(LEVELS)], strict=True))
    return Spread(quantiles, Histogram(told[len(LEVELS)], told[len(LEVELS) + 1], counts))


def sample(flat: Tensor) -> Tensor:
    """At most 4,096 of the values, the same places for the same size, without those that are not finite."""
    some = flat[places(flat.numel(), SAMPLE, flat.device)] if flat.numel() > SAMPLE else flat
    return some[torch.isfinite(some)]
