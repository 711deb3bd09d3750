"""Where the values of one tensor come from: any run of its elements, into memory of any dtype."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import prod
from pathlib import Path
from threading import Lock
from typing import Protocol

import torch

from fanin.checkpoints.flat import rectangles
from fanin.errors import WeightsError
from fanin.initializers import Initializer, Normal, TruncatedNormal, Uniform
from fanin.random import Region, Stream
from fanin.torch.fill import fill

_GROUP = 1 << 22  # values of a matrix law that are computed at once, or more where a matrix has more
_PLAIN = (Normal, TruncatedNormal, Uniform)


class Source(Protocol):
    """Values of one tensor, or of a run of its elements."""

    def read(self, out: torch.Tensor, first: int) -> None:
        """Write elements first, first + 1, … of the tensor into `out`, which has one dimension."""
        ...


@dataclass(frozen=True, slots=True)
class Drawn:
    """An elementwise law: any run is drawn by itself, on one thread."""

    law: Initializer
    stream: Stream
    shape: tuple[int, ...]
    dtype: torch.dtype

    def read(self, out: torch.Tensor, first: int) -> None:
        """Draw the run where it is to lie, or, if that changes a value, in the plan's dtype first."""
        direct = out.dtype is self.dtype or self._rounds_once(out.dtype)
        values = out if direct else torch.empty(out.shape, dtype=self.dtype, device="cpu")
        done = 0
        for region in rectangles(self.shape, first, first + out.numel()):
            part = values[done : done + region.numel].view(region.size)
            fill(part, self.law, self.stream, region=region, threads=1)
            done += region.numel
        if not direct:
            out.copy_(values)

    def _rounds_once(self, dtype: torch.dtype) -> bool:
        """Whether the law's values in this 16-bit dtype are its float32 ones, rounded."""
        if self.dtype is not torch.float32:
            return False
        return dtype is torch.bfloat16 or (dtype is torch.float16 and isinstance(self.law, _PLAIN))


@dataclass(slots=True, eq=False)
class Computed:
    """Elements first … last−1, computed together when one is first asked for, forgotten when all have been read."""

    compute: Callable[[], torch.Tensor]
    first: int
    last: int
    _left: int = field(init=False)
    _values: torch.Tensor | None = None
    _lock: Lock = field(default_factory=Lock)

    def __post_init__(self) -> None:
        self._left = self.last - self.first

    def read(self, out: torch.Tensor, first: int) -> None:
        """Copy the run; each element may be read once."""
        with self._lock:
            if self._values is None:
                self._values = self.compute().reshape(-1)
            values = self._values
            self._left -= out.numel()
            if not self._left:
                self._values = None
        out.copy_(values[first - self.first : first - self.first + out.numel()])


@dataclass(frozen=True, slots=True)
class Joined:
    """Sources of runs that follow one another."""

    parts: Sequence[Computed]

    def read(self, out: torch.Tensor, first: int) -> None:
        """Let each part write what it has of the run."""
        number = bisect_right(self.parts, first, key=lambda part: part.first) - 1
        done = 0
        while done < out.numel():
            part = self.parts[number]
            count = min(part.last - first - done, out.numel() - done)
            part.read(out[done : done + count], first + done)
            done, number = done + count, number + 1


@dataclass(frozen=True, slots=True)
class FromFile:
    """A tensor of a weights file, whose values begin at byte `begin`; read, not mapped, so that memory stays small."""

    path: Path
    key: str
    begin: int
    stored: torch.dtype
    dtype: torch.dtype

    def read(self, out: torch.Tensor, first: int) -> None:
        """Read the run, and round it to the plan's dtype and then to that of `out` where they differ."""
        direct = out.dtype is self.dtype is self.stored
        values = out if direct else torch.empty(out.shape, dtype=self.stored, device="cpu")
        view = values.view(torch.uint8).numpy().data
        try:
            with self.path.open("rb", buffering=0) as file:
                file.seek(self.begin + first * self.stored.itemsize)
                while view:
                    count = file.readinto(view)
                    if not count:
                        raise WeightsError(f"the file ends inside tensor {self.key!r}", path=self.path)
                    view = view[count:]
        except OSError as error:
            raise WeightsError(f"cannot be read: {error.strerror or error}", path=self.path) from error
        if not direct:
            out.copy_(values.to(self.dtype))


def matrices(law: Initializer, shape: tuple[int, ...], draw: Callable[[Region], torch.Tensor]) -> Joined:
    """The source of a law that computes whole matrices: runs of rows that need no other, each computed once.

    Args:
        law: not elementwise.
        shape: of the tensor, which has elements.
        draw: computes a region.
    """
    row = prod(shape[1:])
    cuts = _groups(law, shape, max(1, _GROUP // row))

    def computed(begin: int, end: int) -> Computed:
        return Computed(lambda: draw(_rows(shape, begin, end)), begin * row, end * row)

    return Joined([computed(begin, end) for begin, end in pairwise(cuts)])


def _groups(law: Initializer, shape: tuple[int, ...], step: int) -> list[int]:
    """Where to cut the first dimension: about `step` rows apart, and so that no part needs rows of another."""
    cuts = [0]
    while cuts[-1] < shape[0]:
        begin, end = cuts[-1], min(cuts[-1] + step, shape[0])
        need = law.needs(_rows(shape, begin, end))
        while (found := need.start[0] + need.size[0]) > end:
            end = found
            need = law.needs(_rows(shape, begin, end))
        if need.start[0] < begin:  # rows that need each other do not stand together
            return [0, shape[0]]
        cuts.append(end)
    return cuts


def _rows(shape: tuple[int, ...], begin: int, end: int) -> Region:
    return Region(shape, (begin, *(0 for _ in shape[1:])), (end - begin, *shape[1:]))
