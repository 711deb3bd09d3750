"""The random numbers of one tensor, and which part of the tensor is asked for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import blake2b
from math import prod
from operator import index

from fanin.errors import ArgumentError

STREAM_VERSION = 2


@dataclass(frozen=True, slots=True)
class Stream:
    """The counter-based random numbers of one tensor: a Philox4x32-10 key and a lane.

    The four 32-bit words at counter (i mod 2³², i div 2³², half, lane) belong to elements 4i … 4i+3 of the
    tensor in flat row-major order, where `half` is 0 except for the low words of float64 values. A value so
    depends on (seed, name, index) and on nothing else. Lanes separate several draws for one tensor
    (the values of a sparse matrix and its mask).

    >>> Stream.named(0, "fc1.weight") == Stream.named(0, "fc1.weight")
    True
    """

    key: int
    lane: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.key < 2**64 or not 0 <= self.lane < 2**32:
            raise ArgumentError(f"a stream needs a 64-bit key and a 32-bit lane, got {self.key} and {self.lane}")

    @classmethod
    def named(cls, seed: int, name: str) -> Stream:
        """The stream of the tensor `name` under `seed` (0 ≤ seed < 2⁶⁴): key = BLAKE2b-64(seed ‖ name).

        Raises:
            ArgumentError: the seed is not an integer from 0 to 2⁶⁴ − 1.
        """
        digest = seeded(seed)
        digest.update(name.encode())
        return cls(int.from_bytes(digest.digest(), "little"))

    def at_lane(self, lane: int) -> Stream:
        """The same key, another independent sequence."""
        return replace(self, lane=lane)


@dataclass(frozen=True, slots=True)
class Region:
    """A hyper-rectangle of a logical tensor: `shape` is the whole, [start, start + size) the part.

    >>> Region.whole((4, 6)).numel, Region((4, 6), (1, 2), (3, 2)).numel
    (24, 6)
    """

    shape: tuple[int, ...]
    start: tuple[int, ...]
    size: tuple[int, ...]

    def __post_init__(self) -> None:
        if not len(self.shape) == len(self.start) == len(self.size):
            raise ArgumentError(f"region ranks differ: shape {self.shape}, start {self.start}, size {self.size}")
        for extent, first, count in zip(self.shape, self.start, self.size, strict=True):
            if first < 0 or count < 0 or first + count > extent:
                raise ArgumentError(f"region start {self.start} size {self.size} leaves the tensor {self.shape}")

    @classmethod
    def whole(cls, shape: tuple[int, ...]) -> Region:
        """All of a tensor of this shape."""
        return cls(tuple(shape), (0,) * len(shape), tuple(shape))

    @property
    def is_whole(self) -> bool:
        return self.size == self.shape

    @property
    def numel(self) -> int:
        """Number of elements in the part."""
        return prod(self.size)


def seeded(seed: int) -> blake2b:
    """The hash of `seed`, to be updated with a tensor's name; its eight bytes are then the stream's key, low first.

    Raises:
        ArgumentError: the seed is not an integer from 0 to 2⁶⁴ − 1.
    """
    try:
        number = index(seed)  # NumPy's integers too
    except TypeError:
        raise ArgumentError(f"seed must be a whole number from 0 to 2**64 - 1, got {seed!r}") from None
    if not 0 <= number < 2**64:
        raise ArgumentError(f"seed must be from 0 to 2**64 - 1, got {seed}")
    return blake2b(number.to_bytes(8, "little"), digest_size=8, person=f"fanin stream {STREAM_VERSION}".encode())
