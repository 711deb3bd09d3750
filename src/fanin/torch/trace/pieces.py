"""Which outputs of one product later operations read apart: the blocks of packed weights."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from fanin.torch.tensors import storage_id
from fanin.torch.trace.marked_calls import Marked, marked
from fanin.torch.trace.recording import Call

Mask = NDArray[np.bool_]
Key = tuple[int, int, torch.Size, tuple[int, ...]]

_LONGEST = 400
_MOST = 16
_LARGEST = 1 << 22  # outputs that are followed one by one; larger layers stay whole


def key(tensor: torch.Tensor) -> Key:
    """Equal for two tensors that are the same elements of the same memory."""
    return storage_id(tensor), int(tensor.storage_offset()), tensor.shape, tensor.stride()


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """Outputs of a product that go their own way.

    Attributes:
        features: their positions along the product's output dimension, ascending.
        foreign: tensors that hold nothing but outputs of other pieces.
        half: which operand of a gated linear unit (0: the value, 1: the gate), where one operation takes both.
    """

    features: NDArray[np.intp]
    foreign: frozenset[Key]
    half: int | None = None


@dataclass
class _Walk:
    size: int
    values: dict[Key, Marked]
    ends: list[Mask] = field(default_factory=list[Mask])
    halves: list[int | None] = field(default_factory=list[int | None])
    whole: bool = False

    @property
    def covered(self) -> bool:
        return bool(self.ends) and bool(np.logical_or.reduce(self.ends).all())

    def end(self, mask: Mask, half: int | None = None) -> None:
        """An operation mixes these outputs: here they are told apart from others or not at all."""
        if mask.any():
            self.ends.append(mask)
            self.halves.append(half)
            self.whole |= bool(mask.all())


class Pieces:
    """Follows outputs of products through a finished record of calls to the operations that mix them.

    Every output gets its number as a marker; views, copies, pointwise operations, norms and depthwise convolutions
    carry markers along. Where a product, attention or a multiplication with other outputs reads a tensor, the
    outputs in it belong together; two such groups that share an output are one.
    """

    def __init__(self, calls: Sequence[Call]) -> None:
        self._calls = calls
        self._readers: dict[Key, list[int]] = defaultdict(list)
        self._known: dict[int, tuple[Piece, ...]] = {}
        for index, call in enumerate(calls):
            for tensor in call.inputs:
                self._readers[key(tensor)].append(index)

    def of(self, index: int, axis: int) -> tuple[Piece, ...]:
        """The pieces of the first output of call `index` along its dimension `axis`; empty where it stays whole."""
        if index not in self._known:
            self._known[index] = self._pieces(index, axis)
        return self._known[index]

    def _pieces(self, index: int, axis: int) -> tuple[Piece, ...]:
        out = self._calls[index].outputs[0]
        size = int(out.shape[axis])
        if not 2 <= size <= _LARGEST or not out.numel():
            return ()
        numbers = torch.arange(size, dtype=torch.int32).view([-1 if dim == axis else 1 for dim in range(out.dim())])
        walk = _Walk(size, {key(out): Marked((numbers.expand(out.shape),))})
        self._follow(walk, out, index)
        if walk.whole:
            return ()
        self._leaves(walk)
        groups = _joined(walk.ends, size)
        return tuple(_piece(group, walk) for group in groups) if 1 < len(groups) <= _MOST else ()

    def _follow(self, walk: _Walk, out: torch.Tensor, index: int) -> None:
        queue = [reader for reader in self._readers[key(out)] if reader > index]
        seen = set(queue)
        for _ in range(_LONGEST):
            if not queue or walk.whole or walk.covered:
                return
            reader = heapq.heappop(queue)
            for written in self._step(self._calls[reader], walk):
                for later in self._readers[key(written)]:
                    if later > reader and later not in seen:
                        seen.add(later)
                        heapq.heappush(queue, later)

    def _step(self, call: Call, walk: _Walk) -> Iterator[torch.Tensor]:
        known = {place: walk.values[key(t)] for place, t in enumerate(call.inputs) if key(t) in walk.values}
        outcome = marked(call, known, walk.size)
        for mask in outcome.ends:
            walk.end(mask)
        for half, mask in enumerate(outcome.halves):
            walk.end(mask, half)
        for out, value in zip(call.outputs, outcome.values, strict=False):
            if value is not None:
                walk.values[key(out)] = value
                yield out

    def _leaves(self, walk: _Walk) -> None:
        """Parts that nothing reads any more, as outputs of the model, are pieces where no other claims them."""
        for place, value in walk.values.items():
            if walk.covered or self._readers.get(place):
                continue
            mask = value.union(walk.size)
            if not mask.all() and not (walk.ends and (mask & np.logical_or.reduce(walk.ends)).any()):
                walk.end(mask)


def _joined(masks: Sequence[Mask], size: int) -> list[Mask]:
    """Groups of masks that share an output, in order of their first output; what nobody claims is one more."""
    groups: list[Mask] = []
    for mask in masks:
        apart = [group for group in groups if not (group & mask).any()]
        together = [group for group in groups if (group & mask).any()]
        groups = [*apart, np.logical_or.reduce([mask, *together])]
    rest = ~np.logical_or.reduce(groups) if groups else np.zeros(size, bool)
    if groups and rest.any():
        groups.append(rest)
    return sorted(groups, key=lambda group: int(group.argmax()))


def _piece(group: Mask, walk: _Walk) -> Piece:
    foreign = frozenset(place for place, value in walk.values.items() if not (value.union(walk.size) & group).any())
    halves = {half for mask, half in zip(walk.ends, walk.halves, strict=True) if (mask & group).any()}
    half = halves.pop() if len(halves) == 1 else None
    return Piece(np.flatnonzero(group), foreign, half)
