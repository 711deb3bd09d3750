"""E[h·h′] between the positions of a sample: what attention, pooling and recurrence need beside E[h²].

Positions are numbered once; rearranging a tensor rearranges the numbers, and leaves the table of pairs alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

LARGEST = 1 << 22
"""Entries of the greatest table; beyond, pairs are not followed."""


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """A table for each sample.

    Attributes:
        values: E[h·h′] of shape (samples, positions, positions), float64.
        ids: for each place of the tensor, sample · positions + position; size 1 along the units.
    """

    values: Tensor
    ids: Tensor

    def at(self, map_: Tensor) -> Tensor:
        """A map of the tensor as (samples, positions); averaged over its units."""
        for d in range(map_.ndim):
            if self.ids.shape[d] == 1 and map_.shape[d] > 1:
                map_ = map_.mean(dim=d, keepdim=True)
        flat = map_.new_zeros(self.values.shape[0] * self.values.shape[1])
        flat[self.ids.reshape(-1)] = map_.expand(self.ids.shape).reshape(-1)
        return flat.reshape(self.values.shape[:2])

    def back(self, sites: Tensor) -> Tensor:
        """(samples, positions) as a map of the tensor."""
        return sites.reshape(-1)[self.ids]

    @property
    def second(self) -> Tensor:
        """The diagonal as a map of the tensor."""
        return self.back(self.values.diagonal(dim1=1, dim2=2))


class Lazy:
    """Pairs that are computed when somebody asks, and at most once."""

    def __init__(self, thunk: Callable[[], Pairs | None]) -> None:
        self._thunk: Callable[[], Pairs | None] | None = thunk
        self._value: Pairs | None = None

    def __call__(self) -> Pairs | None:
        if self._thunk is not None:
            self._value, self._thunk = self._thunk(), None
        return self._value

    def then(self, function: Callable[[Pairs], Pairs | None]) -> Lazy:
        """Pairs that follow from these."""

        def thunk() -> Pairs | None:
            here = self()
            return None if here is None else function(here)

        return Lazy(thunk)

    def mapped(self, function: Callable[[Tensor], Tensor]) -> Lazy:
        """The same positions with other values."""
        return self.then(lambda here: replace(here, values=function(here.values)))


def mapped(pairs: Lazy | None, function: Callable[[Tensor], Tensor]) -> Lazy | None:
    """`Lazy.mapped`, where there are pairs."""
    return None if pairs is None else pairs.mapped(function)


def numbered(shape: Sequence[int], device: torch.device) -> Tensor:
    """Numbers for the places of a map of this shape; the first dimension indexes samples."""
    count = 1
    for size in shape:
        count *= size
    return torch.arange(count, device=device).reshape(tuple(shape))


def gram(x: Tensor, channel: int) -> Pairs | None:
    """Measured pairs of a tensor: averages of products over the units."""
    channel %= x.ndim
    if channel == 0 or not x.numel():
        return None
    rows = x.detach().movedim(channel, -1)
    samples, units = x.shape[0], x.shape[channel]
    positions = x.numel() // units // samples
    if samples * positions**2 > LARGEST or not units:
        return None
    wide = rows.reshape(samples, positions, units).double()
    ids = numbered([1 if d == channel else n for d, n in enumerate(x.shape)], x.device)
    return Pairs(wide @ wide.mT / units, ids)


def common(*every: Pairs) -> tuple[list[Tensor], Tensor] | None:
    """The tables over the positions of tensors that are combined place by place, and numbers for those places."""
    shape = torch.broadcast_shapes(*(each.ids.shape for each in every))
    numbers = [each.ids.expand(shape).reshape(-1) for each in every]
    blocks = torch.zeros_like(numbers[0])
    for each, ids in zip(every, numbers, strict=True):
        blocks = blocks * each.values.shape[0] + ids // each.values.shape[1]
    samples, block, counts = torch.unique(blocks, return_inverse=True, return_counts=True)
    positions = int(counts[0])
    if not bool((counts == positions).all()) or samples.numel() * positions**2 > LARGEST:
        return None
    order = torch.argsort(block, stable=True)
    ids = torch.empty_like(order)
    ids[order] = torch.arange(order.numel(), device=order.device)
    tables = [_gathered(each, found[order].reshape(-1, positions)) for each, found in zip(every, numbers, strict=True)]
    return tables, ids.reshape(shape)


def _gathered(pairs: Pairs, ids: Tensor) -> Tensor:
    positions = pairs.values.shape[1]
    place = ids % positions
    return pairs.values[(ids // positions)[:, :1, None], place[:, :, None], place[:, None, :]]


def weights_at(ids: Tensor, factor: Tensor) -> Tensor:
    """A constant that varies over units, as (places, units) in the order of `ids`."""
    shape = torch.broadcast_shapes(ids.shape, factor.shape)
    flat = ids.expand(shape).reshape(-1)
    order = torch.argsort(flat, stable=True)
    return factor.expand(shape).reshape(-1)[order].reshape(ids.numel(), -1).double()
