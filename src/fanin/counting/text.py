"""Counts as plain text."""

from __future__ import annotations

from collections.abc import Sequence

from fanin.text_table import aligned

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_TEXT_COLUMNS = {0, 1}


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
    """Lines of aligned columns, ruled off after the first row and before the last."""
    first, *middle, last = aligned(rows, left=_TEXT_COLUMNS)
    rule = "-" * max(map(len, (first, *middle, last)))
    return [first, rule, *middle, rule, last]
