"""Pairs of positions behind operations that read windows: convolutions, pooling, averages."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from fanin.torch.probe.pairs import LARGEST, Lazy, Pairs, numbered
from fanin.torch.probe.signal import Signal

Spread = Callable[[Tensor, Tensor], Tensor]


def conv_pairs(x: Tensor, signal: Signal, variance: Tensor, spread: Spread) -> Lazy | None:
    """E[h·h′] of a convolution's outputs: Σ over taps of σ_w²·(that of the inputs that the tap reads).

    `spread(map, taps)` is the convolution of one channel; `variance` is fan_in·σ_w² of each tap.
    """
    if signal.pairs is None:
        return None
    shape = x.shape[2:]

    def thunk() -> Pairs | None:
        reads = _taps(variance, shape, spread)
        samples, count = x.shape[0], reads[0][1].numel()
        if samples * count**2 > LARGEST:
            return None
        table = table_in_order(signal, (samples, 1, *shape))
        if table is None:
            return None
        table = F.pad(table, (1, 0, 1, 0))
        values = table.new_zeros(samples, count, count)
        for weight, index in reads:
            flat = index.reshape(-1)
            values += weight * table[:, flat[:, None], flat[None, :]]
        return Pairs(values, numbered((samples, 1, *reads[0][1].shape), x.device))

    return Lazy(thunk)


def measured_conv_pairs(x: Tensor, variance: Tensor, spread: Spread) -> Lazy:
    """The same behind a measured tensor, from its patches."""

    def thunk() -> Pairs | None:
        reads = _taps(variance, x.shape[2:], spread)
        samples, count = x.shape[0], reads[0][1].numel()
        if samples * count**2 > LARGEST or samples * count * len(reads) * x.shape[1] > LARGEST * 4:
            return None
        flat = F.pad(x.detach().double().flatten(2), (1, 0))
        patches = torch.cat([flat[:, :, index.reshape(-1)] * weight**0.5 for weight, index in reads], dim=1)
        values = patches.mT @ patches / x.shape[1]
        return Pairs(values, numbered((samples, 1, *reads[0][1].shape), x.device))

    return Lazy(thunk)


def table_in_order(signal: Signal, shape: tuple[int, ...]) -> Tensor | None:
    """E[h·h′] of (samples, positions, positions) for a tensor of positions `shape` (size 1 at the units)."""
    here = None if signal.pairs is None else signal.pairs()
    if here is None or any(n == 1 and m > 1 for n, m in zip(shape, here.ids.shape, strict=True)):
        return None
    places = in_order(here, shape)
    if places is None:
        return None
    block, order = places
    return here.values[block[:, None, None], order[:, :, None], order[:, None, :]]


def in_order(here: Pairs, shape: tuple[int, ...]) -> tuple[Tensor, Tensor] | None:
    """Sample and position of every place of a tensor of positions `shape`; None where samples are mixed."""
    span = here.values.shape[1]
    flat = here.ids.expand(shape).reshape(shape[0], -1)
    block, place = flat // span, flat % span
    return None if bool((block != block[:, :1]).any()) else (block[:, 0], place)


def _taps(variance: Tensor, shape: torch.Size, spread: Spread) -> list[tuple[float, Tensor]]:
    """For each tap its variance, and for each output the number of the input it reads, from 1; 0 is the border."""
    numbers = (torch.arange(shape.numel(), dtype=torch.float64, device=variance.device) + 1).reshape(1, 1, *shape)
    found: list[tuple[float, Tensor]] = []
    for place in variance.nonzero().tolist():
        tap = torch.zeros_like(variance)
        tap[tuple(place)] = 1
        found.append((float(variance[tuple(place)]), spread(numbers, tap)[0, 0].round().long()))
    if not found:
        found.append((0.0, spread(numbers, torch.zeros_like(variance))[0, 0].long()))
    return found


def averaging(shape: tuple[int, ...], function: Callable[[Tensor], Tensor], device: torch.device) -> Tensor:
    """The matrix (outputs, inputs) of a linear operation on one sample's positions `shape` (size 1 at the units)."""
    count = 1
    for size in shape[1:]:
        count *= size
    basis = torch.eye(count, dtype=torch.float64, device=device).reshape(count, *shape[1:])
    out = torch.cat([function(each[None]) for each in basis])
    return out.reshape(count, -1).T
