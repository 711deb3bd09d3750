"""Rounding to the stored dtype: to nearest, ties to even, once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import float32, int32, types, uint16, uint32
from numba.extending import overload

from fanin.random.kernels.decorators import INLINED, Float32, Word, inlined


@inlined
def bfloat16_bits(value: Float32) -> Word:
    """Bits of the bfloat16 nearest to a float32 that is not NaN; overflows to infinity."""
    bits = np.float32(value).view(np.uint32)
    odd = uint32(uint32(bits >> uint32(16)) & uint32(1))
    return uint16(uint32(uint32(bits + uint32(0x7FFF)) + odd) >> uint32(16))


@inlined
def float16_bits(value: Float32) -> Word:
    """Bits of the float16 nearest to a float32 that is not NaN; overflows to infinity, subnormals kept."""
    bits = np.float32(value).view(np.int32)
    size = int32(bits & int32(0x7FFFFFFF))
    odd = int32(int32(size >> int32(13)) & int32(1))
    normal = int32(int32(int32(size - int32(0x38000000)) + int32(int32(0x0FFF) + odd)) >> int32(13))
    # Adding 1/2 makes the float32 unit of last place that of float16's subnormals, so the sum rounds for us.
    shifted = np.int32(size).view(np.float32) + float32(0.5)
    subnormal = int32(np.float32(shifted).view(np.int32) - int32(0x3F000000))
    small = subnormal if size < int32(0x38800000) else normal
    rounded = int32(0x7C00) if size >= int32(0x477FF000) else small
    sign = int32(int32(bits >> int32(16)) & int32(0x8000))
    return uint16(int32(rounded | sign))


def stored(out: Any, value: Any) -> Any:
    """`value` as an element of `out`: uint16 holds bfloat16 bits, int16 holds float16 bits, others take it as it is."""
    raise TypeError(f"no compiled form for {type(out)} and {type(value)}")


@overload(stored, jit_options=INLINED, strict=False)
def _stored(out: Any, value: Any) -> Any:
    return {types.uint16: _to_bfloat16, types.int16: _to_float16}.get(out.dtype, _second)


def _to_bfloat16(out: Any, value: Any) -> Any:
    return bfloat16_bits(float32(value))


def _to_float16(out: Any, value: Any) -> Any:
    return float16_bits(float32(value))


def _second(out: Any, value: Any) -> Any:
    return value
