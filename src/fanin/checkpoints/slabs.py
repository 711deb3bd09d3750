"""A file cut into slabs: what each writer thread fills and writes at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod

import torch

from fanin.checkpoints.layout import Shard
from fanin.checkpoints.sources import Source
from fanin.torch.replay import DTYPES

SLAB = 1 << 21
"""Bytes of a slab; a multiple of every disk's block."""


@dataclass(frozen=True, slots=True)
class Part:
    """Elements of one tensor in a slab: `count` from element `first`, from byte `at` of the slab on."""

    source: Source
    dtype: torch.dtype
    first: int
    count: int
    at: int

    def fill(self, slab: torch.Tensor) -> None:
        """Write the values into the slab's bytes."""
        self.source.read(slab[self.at : self.at + self.count * self.dtype.itemsize].view(self.dtype), self.first)


@dataclass(frozen=True, slots=True)
class Slab:
    """Bytes offset … offset+size−1 of a file: text (the file's header) and parts of tensors."""

    offset: int
    size: int
    text: bytes
    parts: tuple[Part, ...]

    def fill(self, memory: torch.Tensor) -> None:
        """Write all bytes of the slab into `memory` (uint8)."""
        if self.text:
            memory[: len(self.text)] = torch.frombuffer(bytearray(self.text), dtype=torch.uint8)
        for part in self.parts:
            part.fill(memory)


def slabs_of(shard: Shard, source: Callable[[str], Source], size: int = SLAB) -> Iterator[Slab]:
    """The slabs of a file in its order; no value is computed yet, and sources are made when they are first needed.

    Args:
        shard: the file.
        source: of a tensor's values, by name.
        size: bytes of each slab but the last.
    """
    parts: list[Part] = []
    offset = 0
    for tensor, begin in shard.places():
        dtype, numel, first = DTYPES[tensor.dtype], prod(tensor.shape), 0
        found = source(tensor.name) if numel else None
        while found is not None and first < numel:
            place = begin + first * dtype.itemsize
            while place >= offset + size:
                yield Slab(offset, size, shard.header[offset : offset + size], tuple(parts))
                parts, offset = [], offset + size
            count = min(numel - first, (offset + size - place) // dtype.itemsize)
            parts.append(Part(found, dtype, first, count, place - offset))
            first += count
    while offset < shard.size:
        yield Slab(offset, min(size, shard.size - offset), shard.header[offset : offset + size], tuple(parts))
        parts, offset = [], offset + size
