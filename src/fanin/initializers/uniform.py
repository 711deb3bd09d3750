"""The uniform law."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np

from fanin import random
from fanin.initializers.base import Initializer, Storage, check_storage
from fanin.initializers.checks import as_ordered
from fanin.random.many_laws import Laws, real_of, uniform_laws
from fanin.random.stream import Region, Stream


@dataclass(frozen=True, slots=True)
class Uniform(Initializer):
    """Independent values, uniform between `low` and `high`: mean (low + high)/2, std (high − low)/√12.

    Raises:
        ArgumentError: a bound is not finite, or low > high.

    >>> Uniform(-3.0, 3.0).moments((3, 4))
    (0.0, 1.7320508075688774)
    """

    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        as_ordered(self, "low", "high")

    def fill(self, out: Storage, stream: Stream, region: Region, *, threads: int | None = None) -> None:
        check_storage(out, region)
        random.uniform(out, stream, region, self.low, self.high, threads=threads)

    @classmethod
    def laws(cls, group: Sequence[Uniform], stored: np.dtype[Any]) -> Laws:
        return uniform_laws(real_of(stored), [law.low for law in group], [law.high for law in group])

    def moments(self, shape: tuple[int, ...]) -> tuple[float, float]:
        return self.low / 2 + self.high / 2, (self.high / 2 - self.low / 2) / sqrt(3)
