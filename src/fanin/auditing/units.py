"""A tensor as a matrix of units, and which of them are equal."""

from __future__ import annotations

from dataclasses import dataclass
from math import log2, prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fanin.auditing.look import Looked, looked
from fanin.auditing.records import Twins
from fanin.axes import Axes

_WIDEST = 1 << 20  # values in a unit; longer ones are no units
_BITS = {torch.float32: 20.0, torch.float64: 20.0, torch.float16: 10.0, torch.bfloat16: 8.0}
_CHANCE = 20.0  # bits by which units must be too long to be equal by chance


@dataclass(frozen=True, slots=True)
class Units:
    """How the units of a tensor lie in it.

    Attributes:
        columns: they are the columns of a matrix; else the rows after `forward` has been brought to the front.
        forward: the dimensions that number units, experts first.
        experts: how many independent stacks of units there are.
    """

    columns: bool
    forward: tuple[int, ...]
    experts: int = 1

    @classmethod
    def of(cls, shape: tuple[int, ...], axes: Axes | None) -> Units | None:
        """The units of a tensor of this shape; None where it has fewer than two dimensions.

        >>> Units.of((3, 4), None), Units.of((3, 4), Axes((3, 4), outputs=(1,), inputs=(0,)))
        (Units(columns=False, forward=(0,), experts=1), Units(columns=True, forward=(1,), experts=1))
        """
        if len(shape) < 2 or not prod(shape):
            return None
        if axes is None or not axes.outputs or len(axes.shape) != len(shape):
            return cls(False, (0,))
        if len(shape) == 2 and axes.outputs == (1,) and not axes.batch:
            return cls(True, (1,))
        return cls(False, (*axes.batch, *axes.outputs), prod(shape[axis] for axis in axes.batch))

    def matrix(self, tensor: Tensor) -> Tensor:
        """[units, values of a unit], or transposed where `columns`; a view where the memory allows it."""
        if self.columns:
            return tensor
        moved = tensor.movedim(self.forward, tuple(range(len(self.forward))))
        return moved.reshape(prod(moved.shape[: len(self.forward)]), -1)


def looked_through(tensor: Tensor, axes: Axes | None) -> tuple[Looked, Twins | None, Twins | None]:
    """One read of a tensor with its equal units and its equal experts."""
    units = Units.of(tuple(tensor.shape), axes) if tensor.is_floating_point() else None
    if units is None:
        return looked(tensor), None, None
    matrix = units.matrix(tensor.detach())
    rows, columns = (matrix.shape[1], matrix.shape[0]) if units.columns else matrix.shape
    if columns > _WIDEST:
        return looked(tensor.detach().reshape(-1)), None, None
    found = looked(matrix, units.columns)
    if found.numbers.constant or columns * _BITS.get(tensor.dtype, 6.0) < 2 * log2(max(2, rows)) + _CHANCE:
        return found, None, _experts(found, units)
    return found, _twins(found, matrix, units), _experts(found, units)


def _twins(found: Looked, matrix: Tensor, units: Units) -> Twins:
    hashes = _within_experts(found, units)
    length = matrix.shape[0] if units.columns else matrix.shape[1]
    nothing = looked(torch.zeros(1, length, dtype=matrix.dtype)).hashes[0]
    groups, counts = np.unique(hashes[found.hashes != nothing], return_counts=True)
    repeated = groups[counts > 1]
    equal = 0
    pair = (0, 0)
    for group in repeated:
        places = np.flatnonzero(hashes == group)
        first, second = (matrix[:, place] if units.columns else matrix[place] for place in map(int, places[:2]))
        if torch.equal(first, second):
            pair = pair if equal else (int(places[0]), int(places[1]))
            equal += len(places)
        if equal > _ENOUGH:
            equal = int(counts[counts > 1].sum())
            break
    return Twins(hashes.size, equal, *pair)


_ENOUGH = 64  # of them are looked at bit by bit; the hashes vouch for the others


def _experts(found: Looked, units: Units) -> Twins | None:
    if units.experts < 2 or found.numbers.constant:
        return None
    per = found.hashes.reshape(units.experts, -1)
    seconds = found.seconds.reshape(units.experts, -1).sum(axis=1)
    first = _first_equal(per, seconds)
    if first is None:
        return Twins(units.experts, 0, 0, 0)
    _, counts = np.unique(per, axis=0, return_counts=True)
    return Twins(units.experts, int(counts[counts > 1].sum()), *first)


def _first_equal(per: NDArray[np.uint64], seconds: NDArray[np.float64]) -> tuple[int, int] | None:
    known: dict[bytes, int] = {}
    for number, row in enumerate(per):
        earlier = known.setdefault(row.tobytes(), number)
        if earlier != number and seconds[number]:
            return earlier, number
    return None


def _within_experts(found: Looked, units: Units) -> NDArray[np.uint64]:
    """Hashes that are equal only within one expert: that of another is looked at apart."""
    if units.experts < 2:
        return found.hashes
    numbers = np.repeat(np.arange(units.experts, dtype=np.uint64), found.hashes.size // units.experts)
    return found.hashes ^ (numbers * np.uint64(0x9E3779B97F4A7C15))
