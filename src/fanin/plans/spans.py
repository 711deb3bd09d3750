"""Texts that differ in their numbers only, told as one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

_NUMBER = re.compile(r"\d{1,3}(?:,\d{3})+(?!\d)|\d+(?:\.\d+)?(?:e[-+]?\d+)?")
_FEW = 3


def masked(text: str) -> str:
    """The text without its numbers: equal for texts that `spanned` can tell as one.

    >>> masked("std 0.02/√24") == masked("std 0.1/√8")
    True
    """
    return _NUMBER.sub("#", text)


def spanned(texts: Sequence[str]) -> str:
    """Texts that are equal but for their numbers as one, with `first … last` where a number runs, else its extremes.

    Args:
        texts: at least one; all with the same `masked`.

    >>> spanned(["layer 0: std 0.0141 of 0.02", "layer 1: std 0.01 of 0.02"])
    'layer 0 … 1: std 0.0141 … 0.01 of 0.02'
    """
    distinct = list(dict.fromkeys(texts))
    if len(distinct) == 1:
        return distinct[0]
    columns = iter(list(zip(*map(_NUMBER.findall, distinct), strict=True)))
    return _NUMBER.sub(lambda _: span(next(columns)), distinct[0])


def span(numbers: Sequence[str]) -> str:
    """Numbers, as written, in one: the ends of a run that rises or falls, else the least and the greatest.

    >>> span(["2", "2"]), span(["4", "3", "1"]), span(["1", "3", "2"])
    ('2', '4 … 1', '1 … 3')
    """
    values = [float(number.replace(",", "")) for number in numbers]
    if min(values) == max(values):
        return numbers[0]
    runs = all(a <= b for a, b in pairwise(values)) or all(a >= b for a, b in pairwise(values))
    ends = (0, -1) if runs else (values.index(min(values)), values.index(max(values)))
    return f"{numbers[ends[0]]} … {numbers[ends[1]]}"


def ranges(numbers: Sequence[int]) -> str:
    """Ascending whole numbers as ranges.

    >>> ranges([0, 1, 2, 3, 5]), ranges([1, 3, 5, 7, 9]), ranges([4])
    ('0-3,5', '1,3,…,9', '4')
    """
    steps = {after - before for before, after in pairwise(numbers)}
    if len(steps) == 1 and len(numbers) > _FEW and steps != {1}:
        return f"{numbers[0]},{numbers[1]},…,{numbers[-1]}"
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ",".join(_run(run) for run in runs)


def _run(run: list[int]) -> str:
    return str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}"
