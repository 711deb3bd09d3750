"""The laws behind the functions' numbers; none where torch would refuse them or mean something of its own."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import torch
from torch import Generator, Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException

from fanin.errors import ArgumentError
from fanin.initializers import Constant, Initializer, Normal, TruncatedNormal, Uniform

_REAL = {
    torch.float16: torch.float16,
    torch.bfloat16: torch.bfloat16,
    torch.float32: torch.float32,
    torch.float64: torch.float64,
    torch.complex64: torch.float32,
    torch.complex128: torch.float64,
}
_LARGEST = {dtype: torch.finfo(real).max for dtype, real in _REAL.items()}
_FAR = 1e30


def uniform_law(tensor: Tensor, a: Any, b: Any) -> Uniform | None:
    """U(a, b), if the bounds are in order and, like their distance, within the dtype."""
    low, high, limit = number(a), number(b), _largest(tensor)
    if not -limit <= low <= high <= limit or high - low > limit:
        return None
    return Uniform(low, high)


def normal_law(tensor: Tensor, mean: Any, std: Any) -> Normal | None:
    """N(mean, std²); for complex tensors half the variance in each part, as torch has it."""
    centre, scale = number(mean), number(std)
    if not (math.isfinite(centre) and 0 <= scale < math.inf):
        return None
    scale = scale / math.sqrt(2) if tensor.dtype.is_complex else scale
    if torch.compiler.is_compiling():  # Dynamo warns of caches
        return Normal(centre, scale)
    return _normal(centre, scale, math.copysign(1.0, centre), math.copysign(1.0, scale))


@lru_cache(maxsize=256)
def _normal(mean: float, std: float, *signs: float) -> Normal:  # as cache keys, −0 and 0 are one
    return Normal(mean, std)


def truncated_law(tensor: Tensor, mean: Any, std: Any, a: Any, b: Any) -> Initializer | None:
    """N(mean, std²) given a ≤ value ≤ b; the nearest allowed value where std = 0 or a = b."""
    centre, scale, low, high = number(mean), number(std), number(a), number(b)
    if tensor.dtype.is_complex or not (math.isfinite(centre) and 0 <= scale < math.inf and low <= high):
        return None
    if scale == 0 or low == high:
        return _nearest(centre, low, high)
    lower, upper = _within_reach((low - centre) / scale), _within_reach((high - centre) / scale)
    if lower == upper:
        return _nearest(centre, low, high)
    return TruncatedNormal(centre, scale, lower, upper, corrected=False)


def number(value: Any) -> float:
    """`value` as a float where torch takes it as one (numbers, one-element tensors), else NaN."""
    if type(value) is float or type(value) is int:
        return float(value)
    if isinstance(value, str | bytes):
        return math.nan
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError):
        return math.nan


def through_torch(tensor: Tensor, law: Initializer, generator: Generator | None) -> Tensor:
    """The same law by torch's own operations, for tensors without memory or with their own dispatch."""
    if isinstance(law, Constant):
        return tensor.fill_(law.value)
    if isinstance(law, Uniform):
        return tensor.uniform_(law.low, law.high, generator=generator)
    if isinstance(law, TruncatedNormal):
        mean, std = law.parent
        low, high = mean + law.lower * std, mean + law.upper * std
        return truncated_through_torch(tensor, mean, std, low, high, generator)
    if isinstance(law, Normal):
        return tensor.normal_(law.mean, law.std, generator=generator)
    raise ArgumentError(f"{law.describe()} cannot be drawn into a {type(tensor).__name__} on {tensor.device}")


def truncated_through_torch(
    tensor: Tensor, mean: float, std: float, a: float, b: float, generator: Generator | None
) -> Tensor:
    """torch's own truncated normal. Its loop looks at values; a fake tensor has none, and nothing is left to do."""
    try:
        return torch.nn.init.trunc_normal_(tensor, mean, std, a, b, generator)
    except DataDependentOutputException:
        return tensor


def _nearest(value: float, low: float, high: float) -> Constant:
    return Constant(max(low, min(value, high)))


def _within_reach(sigmas: float) -> float:
    return max(-_FAR, min(_FAR, sigmas))


def _largest(tensor: Tensor) -> float:
    return _LARGEST.get(tensor.dtype, math.nan)
