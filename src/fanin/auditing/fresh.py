"""Whether values were drawn or trained: a drawn tensor has the shape of a law, a trained one does not."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import numpy as np

from fanin.auditing.numbers import Numbers
from fanin.auditing.records import Seen
from fanin.plans.steps import Draw, Step

SIGMAS = 5.0
MARGIN = 0.01
_ENOUGH = 1024  # values that show their law
_SHARE = 0.6
_DISPERSION = 3.0
_INDEPENDENT = ("Normal", "Uniform", "TruncatedNormal")


def is_plain(numbers: Numbers) -> bool:
    """Whether values could be independent draws of a normal, uniform or truncated normal law about their mean."""
    # The standard error of a kurtosis is √(1.32/n) for a uniform law, √(24/n) for a normal one.
    sigmas = SIGMAS / sqrt(max(1, numbers.finite))
    return 1.75 - sigmas * sqrt(1.32) < numbers.kurtosis < 3.05 + sigmas * sqrt(24)


def allowance(numbers: Numbers, std: float, law: Step | None = None) -> float:
    """How far from `std` that of drawn values may be: five standard errors, σ·√((κ − 1)/4n) each, and 1 %.

    Laws whose values are not independent count a quarter of them.
    """
    initializer = None if law is None else law.initializer
    independent = initializer is None or type(initializer).__name__ in _INDEPENDENT
    kurtosis = min(max(numbers.kurtosis, 1.8), 10.0)
    values = max(1.0, numbers.finite if independent else numbers.finite / 4)
    return std * (SIGMAS * sqrt((kurtosis - 1) / (4 * values)) + MARGIN)


def follows(seen: Seen, step: Step | None) -> bool | None:
    """Whether the values are as a step draws them, by mean and std; None where that cannot be told."""
    numbers = seen.numbers
    if step is None or numbers is None or not numbers.finite or not isinstance(step.action, Draw):
        return None
    mean, std = step.mean, step.std
    if mean is None or std is None:
        return None
    if std == 0:
        return numbers.std <= 1e-3 * max(abs(mean), 1e-30) and abs(numbers.mean - mean) <= 4e-3 * abs(mean)
    if numbers.count < 16:
        return None
    close = abs(numbers.std - std) <= allowance(numbers, std, step)
    return close and abs(numbers.mean - mean) <= std * (SIGMAS * 2 / sqrt(numbers.finite) + MARGIN)


def is_trained(tensors: Sequence[Seen]) -> bool:
    """Whether most values have neither the moments of the plan, or of the model's own code, nor the shape of a law."""
    answers = (follows(seen, seen.law) for seen in tensors if seen.weight and _telling(seen))
    told = [answer for answer in answers if answer is not None]
    if told and sum(told) > (1 - _SHARE) * len(told):
        return False
    norms = [seen.numbers for seen in tensors if seen.weight and seen.role == "norm scale" and seen.size > 1]
    moved = [numbers for numbers in norms if numbers is not None and not numbers.constant]
    if len(norms) > 1 and len(moved) > _SHARE * len(norms):
        return True
    votes = [_looks_trained(seen) for seen in tensors if seen.weight and len(seen.shape) > 1 and seen.size >= _ENOUGH]
    return bool(votes) and sum(votes) > _SHARE * len(votes)


def _telling(seen: Seen) -> bool:
    return bool(seen.law and seen.law.std) and seen.size >= 64


def _looks_trained(seen: Seen) -> bool:
    """The values have heavy tails, or their rows differ in size more than those of one law."""
    numbers = seen.numbers
    if numbers is None or not numbers.std:
        return False
    if not is_plain(numbers):
        return True
    rows = seen.seconds
    if len(rows) < 16:
        return False
    expected = max(numbers.kurtosis - 1, 0.5) * numbers.second**2 / (numbers.finite / len(rows))
    return float(np.var(rows)) > _DISPERSION * expected
