"""Ranks and what they differ in, told in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def listed_ranks(ranks: Iterable[int]) -> str:
    """Ranks in short, runs of them as one.

    >>> listed_ranks([0, 1, 2, 5]), listed_ranks([3])
    ('ranks 0–2, 5', 'rank 3')
    """
    every = sorted(ranks)
    runs: list[list[int]] = []
    for rank in every:
        if runs and runs[-1][-1] == rank - 1:
            runs[-1].append(rank)
        else:
            runs.append([rank])
    texts = [str(run[0]) if len(run) == 1 else f"{run[0]}–{run[-1]}" for run in runs]
    return f"{'rank' if len(every) == 1 else 'ranks'} {', '.join(texts)}"


def told_apart(what: str, values: Mapping[int, object]) -> str:
    """Who has what, the few before the many.

    >>> told_apart("seed", {0: 0, 1: 0, 2: 0, 3: 7})
    'rank 3 has seed 7, ranks 0–2 have seed 0'
    """
    sides: dict[object, list[int]] = {}
    for rank, value in sorted(values.items()):
        sides.setdefault(value, []).append(rank)
    ordered = sorted(sides.items(), key=lambda side: len(side[1]))
    has = {True: "has", False: "have"}
    return ", ".join(
        f"{listed_ranks(ranks)} {has[len(ranks) == 1]}{what and f' {what}'} {value}" for value, ranks in ordered
    )
