"""The four values of one block, under whichever law."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from numba.extending import overload

from fanin.random.kernels.decorators import INLINED, Wide
from fanin.random.kernels.normal import normal32, normal64
from fanin.random.kernels.philox import Counters
from fanin.random.kernels.truncated import far_tail64, truncated32, truncated64
from fanin.random.kernels.uniform import uniform32, uniform64
from fanin.random.kernels.words import raw_values
from fanin.random.laws import FarTail64, Normal32, Normal64, RawWords, Truncated32, Truncated64, Uniform32, Uniform64

_VALUES: dict[type, Callable[..., Any]] = {
    RawWords: raw_values,
    Uniform32: uniform32,
    Uniform64: uniform64,
    Normal32: normal32,
    Normal64: normal64,
    Truncated32: truncated32,
    Truncated64: truncated64,
    FarTail64: far_tail64,
}


def block_values(law: NamedTuple, stream: Counters, block: Wide) -> tuple[Any, Any, Any, Any]:
    """Values of elements 4·block … 4·block+3 under `law`, in compiled code."""
    return _VALUES[type(law)](law, stream, block)


@overload(block_values, jit_options=INLINED, strict=False)
def _block_values(law: Any, stream: Any, block: Any) -> Callable[..., Any]:
    return _VALUES[law.instance_class]
