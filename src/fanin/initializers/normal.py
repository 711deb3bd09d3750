"""The normal law."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fanin import random
from fanin.initializers.base import Initializer, Storage, check_storage
from fanin.initializers.checks import as_floats, as_scale
from fanin.random.many_laws import Laws, normal_laws, real_of
from fanin.random.stream import Region, Stream


@dataclass(frozen=True, slots=True)
class Normal(Initializer):
    """Independent values from N(mean, std²).

    Raises:
        ArgumentError: a number is not finite, or std is negative.

    >>> Normal(std=0.02).moments((3, 4))
    (0.0, 0.02)
    """

    mean: float = 0.0
    std: float = 1.0

    def __post_init__(self) -> None:
        as_floats(self, "mean")
        as_scale(self, "std")

    def fill(self, out: Storage, stream: Stream, region: Region, *, threads: int | None = None) -> None:
        check_storage(out, region)
        random.normal(out, stream, region, self.mean, self.std, threads=threads)

    @classmethod
    def laws(cls, group: Sequence[Normal], stored: np.dtype[Any]) -> Laws:
        return normal_laws(real_of(stored), [law.mean for law in group], [law.std for law in group])

    def moments(self, shape: tuple[int, ...]) -> tuple[float, float]:
        return self.mean, self.std
