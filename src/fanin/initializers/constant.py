"""Every value the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, isnan
from numbers import Real
from typing import Any

import numpy as np

from fanin.errors import ArgumentError
from fanin.initializers.base import Initializer, Storage, check_storage
from fanin.initializers.storage import encoded
from fanin.random.many_laws import Laws, constant_laws
from fanin.random.stream import Region, Stream


@dataclass(frozen=True, slots=True)
class Constant(Initializer):
    """Every value is `value`; no random numbers are used.

    `value` may be an int or a bool (for integer and mask buffers) and may be infinite (running extremes
    start there), never NaN.

    Raises:
        ArgumentError: NaN or not a number; at fill, a finite value that the stored dtype cannot hold.

    >>> Constant(0.25).moments((3, 4))
    (0.25, 0.0)
    """

    value: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.value, Real) or isnan(self.value):
            raise ArgumentError(f"Constant: value must be a number and not NaN, got {self.value!r}")
        if isinstance(self.value, np.generic):
            object.__setattr__(self, "value", self.value.item())

    def fill(self, out: Storage, stream: Stream, region: Region, *, threads: int | None = None) -> None:
        check_storage(out, region)
        limit = float(np.finfo(np.float32 if out.dtype == np.uint16 else out.dtype).max)
        if isfinite(self.value) and abs(self.value) > limit:
            raise ArgumentError(f"Constant: {self.value} is beyond the largest {out.dtype} value, {limit:.6g}")
        out.fill(encoded(self.value, out))

    @classmethod
    def laws(cls, group: Sequence[Constant], stored: np.dtype[Any]) -> Laws:
        return constant_laws(stored, [law.value for law in group])

    def moments(self, shape: tuple[int, ...]) -> tuple[float, float]:
        return float(self.value), 0.0


def Zeros() -> Constant:  # noqa: N802 - reads like the laws beside it
    """`Constant(0.0)`: every value 0.

    >>> Zeros().moments((3, 2))
    (0.0, 0.0)
    """
    return Constant(0.0)


def Ones() -> Constant:  # noqa: N802
    """`Constant(1.0)`: every value 1.

    >>> Ones().moments((3, 2))
    (1.0, 0.0)
    """
    return Constant(1.0)
