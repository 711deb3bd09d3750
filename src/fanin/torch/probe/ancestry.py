"""Which random weights a signal depends on, and when that makes one signal independent of another."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor

Ancestors = Mapping[int, int]
"""Number of a weight's draw → the units of it that matter, as bits; −1 for all."""

Fresh = tuple[int, int]
"""A draw and the units of it (as bits) that a signal is odd in: flip their signs, and the signal flips."""

ALL = -1
_MOST_BITS = 1 << 16


def merged(every: Iterable[Ancestors]) -> dict[int, int]:
    """All that any of the signals depends on.

    >>> merged([{0: 1, 1: 2}, {1: 4}])
    {0: 1, 1: 6}
    """
    found: dict[int, int] = {}
    for ancestors in every:
        for draw, units in ancestors.items():
            found[draw] = found.get(draw, 0) | units
    return found


def before(draws: int) -> dict[int, int]:
    """Every draw so far."""
    return dict.fromkeys(range(draws), ALL)


def is_free(fresh: Fresh | None, others: Ancestors) -> bool:
    """Nothing in `others` depends on the units of `fresh`, so that E[fresh · other] = 0."""
    return fresh is not None and not others.get(fresh[0], 0) & fresh[1]


def bits(labels: Tensor | None) -> int:
    """Units as bits; all of them where they are not known or too many.

    >>> import torch
    >>> bits(torch.tensor([0, 2, 2]))
    5
    """
    if labels is None or labels.numel() > _MOST_BITS:
        return ALL
    found = 0
    for unit in labels.unique().tolist():
        found |= 1 << int(unit)
    return found
