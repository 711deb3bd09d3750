"""Counts as plain text."""

from __future__ import annotations

from collections.abc import Sequence

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_TEXT_COLUMNS = 2


def size(number: int | None) -> str:
    """Bytes for a person, in powers of 1024.

    >>> size(1536), size(None)
    ('1.5 KiB', '-')
    """
    if number is None:
        return "-"
    scaled, unit = float(number), 0
    while scaled >= 1024 and unit < len(_UNITS) - 1:
        scaled, unit = scaled / 1024, unit + 1
    return f"{scaled:.4g} {_UNITS[unit]}"


def grouped(number: int | None) -> str:
    """Whole numbers for a person.

    >>> grouped(397510), grouped(None)
    ('397,510', '-')
    """
    return "-" if number is None else f"{number:,}"


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of aligned columns, text to the left and numbers to the right, ruled
    off after the first row and before the last."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(_cell, row, widths, range(len(row)))) for row in rows]
    rule = "-" * len(lines[0])
    first, *middle, last = (line.rstrip() for line in lines)
    return [first, rule, *middle, rule, last]


def _cell(text: str, width: int, column: int) -> str:
    return text.ljust(width) if column < _TEXT_COLUMNS else text.rjust(width)
