"""Moments of a tensor, streamed in float64; units that are zero for the whole batch; units that are twins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

import numpy as np
import torch
from torch import Tensor, nn

from fanin.torch.probe.histogram import Spread, spread
from fanin.torch.probe.sums_kernel import LONGEST, sums

_CHUNK, _PIECE, _BLOCK = 1 << 16, 1 << 20, 1 << 12
MOST = 1 << 27
"""Of a tensor of more values, as many are looked at, in evenly spaced blocks."""
_LIKE = np.empty(0, np.float32)
_PLAIN = (Tensor, nn.Parameter)
_PREFIX = 8


@dataclass(frozen=True, slots=True)
class Moments:
    """Moments of all finite values of one tensor.

    Attributes:
        count: number of values, finite or not.
        mean: average of the finite values.
        second: average of their squares.
        max_abs: the largest magnitude.
        zeros: fraction that is exactly zero.
        non_finite: how many values are NaN or infinite.
        spread: quantiles and a histogram, of a sample of at most 4,096 values; None where not asked for.
    """

    count: int
    mean: float
    second: float
    max_abs: float
    zeros: float
    non_finite: int
    spread: Spread | None = None

    @property
    def std(self) -> float:
        """Standard deviation, √(E[x²] − E[x]²)."""
        return sqrt(max(0.0, self.second - self.mean**2))


def moments(tensor: Tensor, *, spreads: bool = False, most: int = MOST) -> Moments:
    """The `Moments` of a floating-point tensor, accumulated in float64 piece by piece.

    Args:
        tensor: any floating-point tensor.
        spreads: also quantiles and a histogram.
        most: of more values than these, evenly spaced blocks that hold as many are looked at.

    >>> moments(torch.tensor([3.0, -4.0, 0.0])).second
    8.333333333333334
    """
    flat = _thinned(tensor.detach().reshape(-1), most)
    sums = _sums(flat)
    bad = 0
    if not bool(torch.isfinite(sums).all()):
        finite = flat[torch.isfinite(flat)]
        bad, flat, sums = flat.numel() - finite.numel(), finite, _sums(finite)
    total, square, largest, nonzero = sums.tolist()
    n = max(1, flat.numel())
    zeros = 1.0 - nonzero / n if flat.numel() else 0.0
    seen = spread(flat) if spreads else None
    return Moments(tensor.numel(), total / n, square / n, largest, zeros, bad, seen)


def is_sampled(tensor: Tensor) -> bool:
    """Whether `moments` looks at a part of the tensor only."""
    return tensor.numel() > MOST


def _thinned(flat: Tensor, most: int) -> Tensor:
    """Every k-th block of 4,096 values."""
    if flat.numel() <= most:
        return flat
    step = -(-flat.numel() // most)
    whole = flat.numel() // _BLOCK
    return flat[: whole * _BLOCK].view(whole, _BLOCK)[step // 2 :: step].reshape(-1)


def _sums(flat: Tensor) -> Tensor:
    """[Σx, Σx², max|x|, number of nonzeros] in float64; pieces stay in the cache between the passes."""
    here = flat.device.type == "cpu" and type(flat) in _PLAIN and flat.dtype != torch.float64
    pieces = flat.split((LONGEST if flat.dtype == torch.float32 else _PIECE) if here else _CHUNK)
    table = torch.stack([_compiled(piece) if here else _by_torch(piece) for piece in pieces])
    return torch.cat((table[:, :2].sum(0), table[:, 2].amax(0, keepdim=True), table[:, 3:].sum(0)))


def _compiled(piece: Tensor) -> Tensor:
    out = torch.empty(4, dtype=torch.float64)
    values = piece.float()
    sums(values.data_ptr(), values.numel(), _LIKE, out.numpy())
    return out


def _by_torch(piece: Tensor) -> Tensor:
    wide = piece.double()
    low, high = torch.aminmax(wide) if wide.numel() else (wide.new_zeros(()), wide.new_zeros(()))
    return torch.stack((wide.sum(), wide.dot(wide), torch.maximum(-low, high), wide.count_nonzero().double()))


def varying(tensor: Tensor, second: float) -> float | None:
    """The part of E[x²] that differs between the samples, E[(x − batch mean)²]; None for fewer than two samples.

    It is the signal proper: what a bias adds is the same for every sample.
    """
    if tensor.ndim < 2 or tensor.shape[0] < 2:
        return None
    centre = tensor.detach().mean(dim=0, dtype=torch.float64).reshape(-1)
    return max(0.0, second - float(centre.dot(centre)) / centre.numel())


def dead_units(tensor: Tensor, channel: int) -> int:
    """How many units (entries of dimension `channel`) are zero for every sample and position."""
    others = [d for d in range(tensor.ndim) if d != channel % tensor.ndim]
    alive = tensor.detach().abs().amax(dim=others) != 0
    return int(alive.numel() - alive.sum())


@dataclass(frozen=True, slots=True)
class Twins:
    """Units of one weight that compute the same.

    Attributes:
        units: number of units.
        locked: units that share all their weights *and* their gradient with another: no step can separate them.
        silent: units that share their weights, and whose gradients are exactly zero in this pass.
    """

    units: int
    locked: int
    silent: int


def twins(weight: Tensor, bias: Tensor | None, unit_dim: int, gradients: Callable[[], Tensor | None]) -> Twins:
    """Find units with identical weights and bias, and say which of them also get identical gradients.

    `gradients` gives one row per unit, and is asked only where weights coincide.

    Rows are told apart by their first values; only rows that agree there are compared whole, so the usual
    case costs one sort of a thin matrix. Gradients count as identical up to the rounding of a sum (10⁻⁴).
    """
    units = weight.detach().movedim(unit_dim, 0)
    count = units.shape[0]
    doubled = _shared(_rows(units[:, -_PREFIX:] if units.ndim > 1 else units, bias)[:, -_PREFIX:])
    if not doubled.numel():
        return Twins(count, 0, 0)
    rows = _rows(units[doubled], None if bias is None else bias[doubled])
    again = _shared(rows)
    doubled, rows = doubled[again], rows[again]
    if not doubled.numel():
        return Twins(count, 0, 0)
    _, group = torch.unique(rows, dim=0, return_inverse=True)
    pull = gradients()
    if pull is None:
        return Twins(count, doubled.numel(), 0)
    return _judge(count, group, pull[doubled].double())


def _rows(units: Tensor, bias: Tensor | None) -> Tensor:
    """Each unit's weights and bias in a row."""
    rows = units.flatten(1)
    return rows if bias is None else torch.cat((rows, bias.detach()[:, None]), dim=1)


def _shared(rows: Tensor) -> Tensor:
    """Indices of the rows that occur more than once."""
    _, group, count = torch.unique(rows, dim=0, return_inverse=True, return_counts=True)
    return (count[group] > 1).nonzero().flatten()


def _judge(units: int, group: Tensor, pull: Tensor) -> Twins:
    first = torch.full((int(group.max()) + 1,), -1, device=group.device)
    first = first.scatter_reduce(0, group, torch.arange(group.numel(), device=group.device), "amax")
    reference = pull[first[group]]
    size = torch.linalg.vector_norm(reference, dim=1)
    same = torch.linalg.vector_norm(pull - reference, dim=1) <= 1e-4 * size
    members = torch.zeros(first.numel(), dtype=torch.long, device=group.device).index_add(0, group, same.long())
    locked = same & (members[group] > 1)
    silent = locked & (size == 0)
    return Twins(units, int(locked.sum()), int(silent.sum()))
