"""The convolution that returns its input."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Literal

import numpy as np

from fanin.errors import ArgumentError
from fanin.initializers.base import Initializer, Storage, check_storage
from fanin.initializers.checks import as_axes, as_floats, as_groups
from fanin.initializers.moments import sparse_constant
from fanin.initializers.storage import scatter
from fanin.random.stream import Region, Stream


@dataclass(frozen=True, slots=True)
class Dirac(Initializer):
    """Channel i of each group goes to channel i of the same group through the centre tap alone; all else is zero.

    With as many outputs as inputs, stride 1 and `padding="same"` the (grouped) convolution is `gain` times
    the identity. With fewer outputs the first input channels survive; with more, the last outputs are zero.

    Args:
        gain: the value at the centre tap.
        groups: groups of the convolution.
        centre: which tap of a kernel of size k is the centre: "same" is (k−1)//2, where torch's
            `padding="same"` has it; "torch" is k//2, where `torch.nn.init.dirac_` puts it. They differ for even
            k, where torch's shifts the signal by one.
        channels: the two channel dimensions, the one that holds all groups first. (0, 1) is torch's layout
            of convolutions ([out, in/groups, *k]) and of transposed ones ([in, out/groups, *k]).

    Raises:
        ArgumentError: gain not finite, groups below 1; at fill, a tensor that lacks the channel
            dimensions, or groups that do not divide.

    >>> Dirac().moments((8, 8, 1))
    (0.125, 0.33071891388307384)
    """

    gain: float = 1.0
    groups: int = 1
    centre: Literal["same", "torch"] = "same"
    channels: tuple[int, int] = (0, 1)

    def __post_init__(self) -> None:
        as_floats(self, "gain")
        as_groups(self)
        as_axes(self, "channels")
        if self.centre not in ("same", "torch"):
            raise ArgumentError(f"Dirac: centre must be 'same' or 'torch', got {self.centre!r}")
        if len(self.channels) != 2:
            raise ArgumentError(f"Dirac: channels must name two dimensions, got {self.channels}")

    def fill(self, out: Storage, stream: Stream, region: Region, *, threads: int | None = None) -> None:
        check_storage(out, region)
        per_group, shared = self._blocks(region.shape)
        group, channel = np.indices((self.groups, min(per_group, shared))).reshape(2, -1)
        taps = [(k - 1) // 2 if self.centre == "same" else k // 2 for k in region.shape]
        index = np.tile(np.array(taps), (group.size, 1))
        index[:, self.channels[0]] = group * per_group + channel
        index[:, self.channels[1]] = channel
        # A kernel dimension of size 0 has no centre; then nothing is inside the region either.
        scatter(out, region, index, self.gain)

    def moments(self, shape: tuple[int, ...]) -> tuple[float, float]:
        return sparse_constant(self.gain, self.groups * min(self._blocks(shape)) * (prod(shape) > 0), prod(shape))

    def _blocks(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Channels per group in the dimension that holds all groups, and in the other."""
        first, second = self.channels
        if max(first, second) >= len(shape):
            raise ArgumentError(f"Dirac needs channel dimensions {self.channels}, got shape {shape}")
        if shape[first] % self.groups:
            raise ArgumentError(f"Dirac: {self.groups} groups do not divide dimension {first} of shape {shape}")
        return shape[first] // self.groups, shape[second]
