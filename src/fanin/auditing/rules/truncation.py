"""Bounds that never bite, values that sit on them, and values far beyond the others."""

from __future__ import annotations

from collections.abc import Iterator
from math import exp, pi, sqrt

import torch

from fanin.auditing.records import MATRICES, Scene, Seen
from fanin.auditing.rules.remedies import override, redrawn, tensor_of
from fanin.checking import Finding
from fanin.initializers import TruncatedNormal

_NEVER = 6.0  # a normal value leaves ±6σ twice in 10⁹ draws
_FAR = 8.0
_HEAVY = 6.0
_SOME = 10
_TABLES = MATRICES | {"embedding", "position"}
_LAWS = ("Normal", "Uniform", "TruncatedNormal")


def never_bites(scene: Scene) -> Iterator[Finding]:
    """A truncated normal law whose bounds are so many sigmas away that nothing is ever cut."""
    for seen in scene.tensors:
        law = _truncated(seen)
        if law is None or min(-law.lower, law.upper) <= _NEVER or seen.planned is None:
            continue
        mean, std = law.parent
        yield Finding(
            "truncation",
            "warning",
            seen.name,
            f"a normal law of std {std:.3g} cut at {mean + law.lower * std:g} and {mean + law.upper * std:g}: "
            f"{min(-law.lower, law.upper):.3g} sigmas away",
            "bounds of two or three sigmas",
            "the bounds of torch.nn.init.trunc_normal_ are absolute, not in sigmas: nothing is ever cut",
            override(seen, f"TruncatedNormal(std={std:.4g})"),
        )


def beyond(scene: Scene) -> Iterator[Finding]:
    """Values outside the bounds of the plan's truncated law."""
    if scene.trained:
        return
    for seen in scene.weights:
        law = _truncated(seen)
        if law is None or seen.planned is None or seen.numbers is None:
            continue
        mean, std = law.parent
        low, high = mean + law.lower * std, mean + law.upper * std
        room = 0.02 * (high - low)
        if seen.numbers.low < low - room or seen.numbers.high > high + room:
            yield Finding(
                "truncation",
                "warning",
                seen.name,
                f"values from {seen.numbers.low:.4g} to {seen.numbers.high:.4g}",
                f"values from {low:.4g} to {high:.4g}",
                "the cut that the plan asks for never bit: bounds taken as absolute (±2) for a small std, or none",
                redrawn(seen),
            )


def spikes(scene: Scene) -> Iterator[Finding]:
    """Several values exactly at the least or the greatest one: a sampler that clamps, or erfinv at its end."""
    if scene.trained:
        return
    for seen in scene.weights:
        at = _at_bounds(seen)
        if at is None:
            continue
        yield Finding(
            "spikes",
            "warning",
            seen.name,
            f"{at} of {seen.size:,} values are exactly {seen.numbers.low if seen.numbers else 0:.4g} or "
            f"{seen.numbers.high if seen.numbers else 0:.4g}",
            "no pile of values at a bound",
            "the sampler clamps to its bounds (trunc_normal_ in 16 bits, through erfinv), where it should draw again",
            redrawn(seen),
        )


def outliers(scene: Scene) -> Iterator[Finding]:
    """Values many sigmas away, which no law of initialization draws."""
    if scene.trained:
        return
    for seen in scene.weights:
        numbers = seen.numbers
        if numbers is None or not _is_far(seen) or _at_bounds(seen) is not None:
            continue
        yield Finding(
            "outliers",
            "warning",
            seen.name,
            f"a value of {numbers.max_abs:.3g}, {numbers.max_abs / numbers.std:.0f} sigmas away (kurtosis "
            f"{numbers.kurtosis:.0f})",
            "at most about 6 sigmas, kurtosis 3 or less",
            "a sampler that is wrong in its tails (erfinv of a number that rounds to 1), or a value set later",
            f"{tensor_of(seen)}.data.clamp_({-_NEVER / 2 * _bulk(seen):.4g}, {_NEVER / 2 * _bulk(seen):.4g})",
        )


def _truncated(seen: Seen) -> TruncatedNormal | None:
    law = None if seen.law is None else seen.law.initializer
    return law if isinstance(law, TruncatedNormal) else None


def _is_far(seen: Seen) -> bool:
    numbers = seen.numbers
    if numbers is None or seen.role not in _TABLES or numbers.count < 256 or not numbers.std:
        return False
    law = None if seen.law is None else seen.law.initializer
    if law is not None and type(law).__name__ not in _LAWS:
        return False
    dense = numbers.zeros < 0.1 * numbers.count
    return dense and numbers.max_abs > abs(numbers.mean) + _FAR * numbers.std and numbers.kurtosis > _HEAVY


def _at_bounds(seen: Seen) -> int | None:
    """How many values are exactly at the ends, where they are far more than rounding puts there."""
    numbers = seen.numbers
    if numbers is None or seen.load is None or numbers.count < 256 or not numbers.std:
        return None
    law = _truncated(seen)
    if law is not None and min(-law.lower, law.upper) <= _NEVER:
        _, std = law.parent
        near = max(abs(numbers.low), abs(numbers.high))
        rounding = torch.finfo(getattr(torch, seen.dtype)).eps * near
        edge = exp(-(min(law.upper, -law.lower) ** 2) / 2) / sqrt(2 * pi) / std
        usual = _SOME + 10 * numbers.count * edge * rounding
    elif _is_far(seen):
        usual = 2.0
    else:
        return None
    values = seen.load().float()
    at = int((values == numbers.low).sum()) + int((values == numbers.high).sum())
    return at if at > usual else None


def _bulk(seen: Seen) -> float:
    """The std of the values without the outliers, by the median magnitude."""
    if seen.load is None:
        return seen.std or 0.0
    values = seen.load().float().abs().reshape(-1)
    return float(values[:: max(1, values.numel() >> 16)].median()) / 0.6745
