"""The blocks of a packed parameter, from the pieces of the outputs that it makes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np
import torch

from fanin.axes import Axes
from fanin.graph.records import Part, Use
from fanin.random.part import Places, joined, visible
from fanin.torch.trace.origins import Look, Origins
from fanin.torch.trace.pieces import Piece

_MOST_PARTS = 64
_OF_BLOCKS = frozenset(("linear", "conv", "conv_transpose", "bias"))


@dataclass(frozen=True, slots=True)
class Operand:
    """A look at a parameter as one operand of an operation.

    Attributes:
        look: what it is a look at.
        tensor: the operand itself.
        outputs: its dimension that runs along the operation's outputs.
        inputs: its dimension that is summed over; None for a bias.
        first: the number of the output at which it begins, where several parameters make the outputs.
    """

    look: Look
    tensor: torch.Tensor
    outputs: int
    inputs: int | None = None
    first: int = 0

    def made(self, piece: Piece) -> Places:
        """Its indices along its outputs that make the outputs of a piece."""
        mine = piece.features - self.first
        return mine[(mine >= 0) & (mine < self.tensor.shape[self.outputs])]


def blocks(operand: Operand, pieces: Sequence[Piece], origins: Origins) -> list[tuple[tuple[Part, ...], Piece | None]]:
    """The parts of the parameter for each piece of the outputs; `()` alone for all of it."""
    whole: list[tuple[tuple[Part, ...], Piece | None]] = [((), None)]
    if not pieces and operand.tensor.numel() == prod(operand.look.shape):
        return whole
    shown = [piece for piece in pieces if len(operand.made(piece))] or (None,)
    found = [_parts(operand, piece, origins) for piece in shown]
    told = [parts for parts in found if parts is not None]
    return list(zip(told, shown, strict=True)) if len(told) == len(found) else whole


def block_axes(axes: Axes, parts: Sequence[Part]) -> Axes:
    """The axes of the parts joined to one tensor."""
    return replace(axes, shape=joined(parts))


def settled(uses: Sequence[Use], wholes: Mapping[int, Use], shapes: Mapping[str, tuple[int, ...]]) -> list[Use]:
    """The uses, in which blocks that do not tile their tensor are whole again.

    Args:
        uses: all uses.
        wholes: for each use of a block, by its number, the same use of the whole tensor.
        shapes: of the tensors.
    """
    found: dict[str, set[tuple[Part, ...]]] = defaultdict(set)
    for number in wholes:
        found[uses[number].tensor].add(uses[number].parts)
    for use in uses:
        if use.tensor in found and use.op in _OF_BLOCKS:
            found[use.tensor].add(use.parts)
    torn = {name for name, parts in found.items() if not _tile(parts, shapes[name])}
    return [wholes[number] if number in wholes and use.tensor in torn else use for number, use in enumerate(uses)]


def _parts(operand: Operand, piece: Piece | None, origins: Origins) -> tuple[Part, ...] | None:
    """`()` for the whole parameter; None where its elements in the piece are no rectangles."""
    shape = operand.look.shape
    rows = operand.look.dims[operand.outputs]
    columns = frozenset[int]() if operand.inputs is None else operand.look.dims[operand.inputs]
    spans: dict[int, list[_Comb]] = {}
    for axes, dim, chosen in ((rows, operand.outputs, piece), (columns, operand.inputs, None)):
        found = origins.along(operand.tensor, dim) if dim is not None else {}
        if not axes <= found.keys():
            return None
        picked = {axis: found[axis] if chosen is None else found[axis][operand.made(chosen)] for axis in axes}
        combs = {axis: _combs(np.unique(places)) for axis, places in picked.items()}
        if picked and prod(len(np.unique(places)) for places in picked.values()) != len(next(iter(picked.values()))):
            return None
        spans |= combs
    several = [axis for axis, combs in spans.items() if len(combs) > 1]
    if len(several) > 1 or any(len(combs) > _MOST_PARTS for combs in spans.values()):
        return None
    parts = [_part(shape, spans, dict.fromkeys(several, number)) for number in range(_count(spans))]
    return () if parts == [Part((0,) * len(shape), shape)] else tuple(parts)


@dataclass(frozen=True, slots=True)
class _Comb:
    start: int
    size: int
    stride: int = 1
    count: int = 1


def _combs(places: Places) -> list[_Comb]:
    """Ascending places as one comb of equal runs at equal distances, else run by run."""
    breaks = np.flatnonzero(np.diff(places) != 1) + 1
    starts = places[np.concatenate([[0], breaks])].tolist()
    sizes = np.diff(np.concatenate([[0], breaks, [len(places)]])).tolist()
    distances = set(np.diff(starts).tolist())
    if len(starts) > 1 and len(set(sizes)) == 1 and len(distances) == 1:
        return [_Comb(starts[0], sizes[0], distances.pop(), len(starts))]
    return [_Comb(start, size) for start, size in zip(starts, sizes, strict=True)]


def _count(spans: dict[int, list[_Comb]]) -> int:
    return max((len(combs) for combs in spans.values()), default=1)


def _part(shape: tuple[int, ...], spans: dict[int, list[_Comb]], chosen: dict[int, int]) -> Part:
    combs = [
        spans[axis][chosen.get(axis, 0)] if axis in spans else _Comb(0, size, size) for axis, size in enumerate(shape)
    ]
    start, size = tuple(comb.start for comb in combs), tuple(comb.size for comb in combs)
    if all(comb.count == 1 for comb in combs):
        return Part(start, size)
    strides = tuple(comb.stride if comb.count > 1 else comb.size for comb in combs)
    return Part(start, size, strides, tuple(comb.count for comb in combs))


def _tile(found: set[tuple[Part, ...]], shape: tuple[int, ...]) -> bool:
    """Whether the parts cover the whole tensor, each element once."""
    if () in found:
        return False
    parts = [part for each in found for part in each]
    return visible(parts, shape)[1] == 0 and sum(prod(part.joined) for part in parts) == prod(shape)
