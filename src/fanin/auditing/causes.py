"""Why a standard deviation is off by just this factor: the slips that are made again and again."""

from __future__ import annotations

from collections.abc import Iterator
from math import isclose, isinf, prod, sqrt

from fanin.auditing.records import Seen

_CLOSE = 0.015
_CUT = 0.87962566103423978  # std of N(0, 1) cut at ±2


def cause_of_std(seen: Seen, ratio: float) -> str:
    """A sentence for std = ratio · planned std: the plainest slip that gives this ratio, else that nobody knows one.

    The ratio is infinite where the plan has a constant.
    """
    if isinf(ratio):
        return "the plan has one value for all of it: another init wrote over it, or it was changed since"
    if ratio == 0:
        return "the tensor is constant: it was never drawn"
    margin = _CLOSE + (2.5 / sqrt(seen.numbers.finite) if seen.numbers is not None and seen.numbers.finite else 0.0)
    for factor, why in (*_of_fans(seen), *_of_blocks(seen), *_of_depth(seen), *_of_laws()):
        if not isclose(factor, 1.0, rel_tol=0.04) and isclose(ratio, factor, rel_tol=margin):
            return f"the ratio {ratio:.3g} is {why}"
    return f"drawn with {ratio:.3g} times the planned std, or changed since"


def _of_fans(seen: Seen) -> Iterator[tuple[float, str]]:
    axes = seen.axes
    if axes is None or not axes.fan_in or not axes.fan_out:
        return
    swap = sqrt(axes.fan_in / axes.fan_out)
    what = (
        "a transposed convolution"
        if axes.transposed
        else "a layer that is stored [in, out]"
        if axes.outputs == (1,)
        else "it"
    )
    yield swap, f"√(fan-in/fan-out): the fans of {what} were swapped"
    yield 1 / swap, f"√(fan-out/fan-in): the fans of {what} were swapped"
    if axes.groups > 1:
        yield 1 / sqrt(axes.groups), "1/√groups: the fan was counted over all groups"
        yield sqrt(axes.groups), "√groups: the fan was counted within a group twice"
    if axes.batch:
        experts = prod(axes.shape[axis] for axis in axes.batch)
        yield 1 / sqrt(experts), "1/√experts: the fan was counted over all experts"
        wrong = prod(axes.shape) / axes.shape[0]
        yield sqrt(axes.fan_in / wrong), "√(fan-in/(in·out)): the experts were taken for output channels"


def _of_blocks(seen: Seen) -> Iterator[tuple[float, str]]:
    blocks = [use.axes for use in seen.uses if use.parts and use.axes is not None]
    if not blocks or len(seen.shape) != 2:
        return
    inside, outside = blocks[0].fan_in, blocks[0].fan_out
    packed = sum(axes.fan_out for axes in blocks)
    yield (
        sqrt((inside + outside) / (inside + packed)),
        "that of Xavier over the packed fan-out: the blocks were drawn as one",
    )


def _of_depth(seen: Seen) -> Iterator[tuple[float, str]]:
    layers = seen.place.layers
    if layers < 2:
        return
    for count, word in ((2 * layers, "2·layers"), (layers, "layers"), (seen.place.branches, "branches")):
        if count > 1:
            yield 1 / sqrt(count), f"1/√({word}): the residual scaling stands here, where the plan has none"
            yield sqrt(count), f"√({word}): the residual scaling of the plan is missing here"


def _of_laws() -> Iterator[tuple[float, str]]:
    yield _CUT, "that of a normal cut at ±2σ without correction"
    yield 1 / _CUT, "the correction for a cut at ±2σ that was never made"
    yield sqrt(2.0), "√2: a gain for relu too much"
    yield 1 / sqrt(2.0), "1/√2: the gain for relu is missing"
    yield sqrt(3.0), "√3: a bound was taken for a standard deviation"
    yield 1 / sqrt(3.0), "1/√3: a standard deviation was taken for a bound"
