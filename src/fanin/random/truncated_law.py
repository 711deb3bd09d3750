"""The numbers of a truncated normal law as the kernels take them."""

from __future__ import annotations

from decimal import Decimal, localcontext
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from fanin.errors import ArgumentError
from fanin.random.laws import Central32, FarTail64, Real, Truncated32, Truncated64, numbers_inside
from fanin.random.normal_law import CONTEXT, log_upper_tail, upper_tail

_SMALLEST_TAIL32 = Decimal("2.4e-14")  # what kernels.math32.upper_point32 is made for
_NARROWEST32 = 0.25  # sigmas: below this, float32 probabilities near 1/2 would be too coarse
_CENTRAL = 2.0  # sigmas: as far as kernels.math32.central_point32 goes
_DEEP = 5.0  # sigmas: from here on, tails are measured in units of the nearer one
_FAR = -690  # log_scale below which AS 241 ends
_LEAST_LOG_SCALE = Decimal("-1e300")  # farther out every value rounds to the nearer bound anyway


class Cut(NamedTuple):
    """A standard normal law cut to bounds: the tails outside and the mass between, in units of exp(log_scale)."""

    left: Decimal
    right: Decimal
    mass: Decimal
    log_scale: Decimal
    share_left: Decimal
    """The part of the mass that lies left of the centre."""


def truncated_law(
    real: Real, mean: float, std: float, lower: float, upper: float
) -> Truncated32 | Central32 | Truncated64 | FarTail64:
    """The law of N(mean, std²) cut to mean + std·[lower, upper], for values stored in `real`."""
    low, high = (mean + std * bound if std else mean for bound in (lower, upper))
    if max(low, -high) > float(np.finfo(real).max):
        raise ArgumentError(f"a normal law cut to [{low:g}, {high:g}] has no {real.__name__} value: move its bounds")
    limits = numbers_inside(real, low, high)
    if upper <= 0:
        std, lower, upper = -std, -upper, -lower
    cut = _cut(lower, upper)
    threshold = np.uint32(min(int(cut.share_left * 2**32), 2**32 - 1))
    if real is np.float32 and upper - lower >= _NARROWEST32 and max(-lower, upper) <= _CENTRAL:
        middle, radius = 1 - 2 * cut.right - cut.mass, cut.mass / 2**31
        return Central32._make(map(np.float32, (mean, std, *limits, middle, radius)))
    if real is np.float32 and upper - lower >= _NARROWEST32 and _smallest_tail(cut) >= _SMALLEST_TAIL32:
        narrow = map(np.float32, (mean, std, *limits, cut.left, cut.right, cut.mass))
        return Truncated32._make((*narrow, threshold))
    if cut.log_scale < _FAR:
        return FarTail64._make(map(np.float64, (mean, std, *limits, cut.right, cut.mass, cut.log_scale)))
    wide = map(np.float64, (mean, std, *limits, cut.left, cut.right, cut.mass, cut.log_scale))
    return Truncated64._make((*wide, threshold))


@lru_cache(maxsize=256)  # a model has many tensors and few bounds
def _cut(lower: float, upper: float) -> Cut:
    """The cut at lower < upper, where upper > 0."""
    none = Decimal(0)
    with localcontext(CONTEXT):
        if lower < 0:
            left, right = upper_tail(-lower), upper_tail(upper)
            mass = 1 - left - right
            return Cut(left, right, mass, none, (Decimal("0.5") - left) / mass if mass else none)
        log_near, log_far = log_upper_tail(lower), log_upper_tail(upper)
        scale = max(log_near, _LEAST_LOG_SCALE) if lower > _DEEP else none
        near, far = (log_near - scale).exp(), (log_far - scale).exp()
        return Cut(none, far, near - far, scale, none)


def _smallest_tail(cut: Cut) -> Decimal:
    """The least probability the kernel may be asked to invert."""
    least = min(cut.left, cut.right) if cut.share_left else cut.right
    return Decimal(0) if cut.log_scale else least + cut.mass / 2**33
