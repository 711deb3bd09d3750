"""Sizes of files as people write them."""

from __future__ import annotations

import re

from fanin.errors import ArgumentError

_UNITS = {
    "": 1,
    "B": 1,
    **{f"{prefix}B": 1000**power for power, prefix in enumerate("KMGT", 1)},
    **{f"{prefix}IB": 1024**power for power, prefix in enumerate("KMGT", 1)},
}
_FORM = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", re.ASCII)


def size_in_bytes(size: int | str) -> int:
    """Bytes meant by a number of bytes or by text such as "5GB" (10⁹, as transformers reads it) or "5GiB" (2³⁰).

    Raises:
        ArgumentError: not a size, or less than one byte.

    >>> size_in_bytes("5GB"), size_in_bytes("1.5 GiB"), size_in_bytes(4096)
    (5000000000, 1610612736, 4096)
    """
    count = size if type(size) is int else _parsed(size)
    if count < 1:
        raise ArgumentError(f"a size must be at least 1 byte, got {size!r}")
    return count


def shown(count: int) -> str:
    """A number of bytes for a person.

    >>> shown(16_060_522_496), shown(999)
    ('16.06 GB', '999 B')
    """
    for unit, size in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.2f} {unit}"
    return f"{count} B"


def _parsed(size: int | str) -> int:
    found = _FORM.fullmatch(size) if isinstance(size, str) else None
    if found is None or found[2].upper() not in _UNITS:
        raise ArgumentError(f"a size is a number of bytes or text such as '5GB', '5GiB' or '500MB', got {size!r}")
    return int(float(found[1]) * _UNITS[found[2].upper()])
