"""Plain-text tables."""

from __future__ import annotations

from collections.abc import Collection, Sequence

GAP = "  "


def aligned(rows: Sequence[Sequence[str]], left: Collection[int]) -> list[str]:
    """One line per row, columns as wide as their widest cell; those numbered in `left` start flush, others end so.

    >>> aligned([("layer", "std"), ("fc1", "0.0505")], left={0})
    ['layer     std', 'fc1    0.0505']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [GAP.join(_cell(*at, left) for at in enumerate(zip(row, widths, strict=True))).rstrip() for row in rows]


def _cell(column: int, cell: tuple[str, int], left: Collection[int]) -> str:
    text, width = cell
    return text.ljust(width) if column in left else text.rjust(width)
