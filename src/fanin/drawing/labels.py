"""The texts of a drawing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
_LONGEST = 60


def text(value: str) -> str:
    """A text that markup can hold: escaped, without control characters, of a bounded length.

    >>> text("<b>&\\x00")
    '&lt;b&gt;&amp;�'
    """
    shorter = value if len(value) <= _LONGEST else f"{value[: _LONGEST - 1]}…"
    return escape(_CONTROL.sub("\N{REPLACEMENT CHARACTER}", shorter))


def shape(sizes: Sequence[int] | None, batch: int) -> str:
    """A shape for a person; the batch as n.

    >>> shape((2, 16, 768), 2), shape((16, 768), 2), shape(None, 2)
    ('n×16×768', '16×768', '')
    """
    if not sizes:
        return ""
    return "×".join(("n" if sizes[0] == batch else str(sizes[0]), *map(str, sizes[1:])))


def amount(count: int, times: int, total: int) -> str:
    """How many parameters, and which share of all.

    >>> amount(590_592, 12, 124_439_808), amount(0, 1, 10)
    ('12 × 590,592 · 5.7 %', '')
    """
    if not count:
        return ""
    each = f"{count:,}" if times == 1 else f"{times} × {count:,}"
    share = 100 * count * times / total
    return f"{each} · {'< 0.01' if share < 0.01 else f'{share:.2g}' if share < 99.5 else '100'} %"


def roles(names: Sequence[str]) -> str:
    """Roles in one line, what they have in common once.

    >>> roles(["attention query", "attention key"]), roles(["embedding", "head"])
    ('attention query, key', 'embedding, head')
    """
    first, *others = [name.split(" ", 1) for name in names] or [[""]]
    if others and all(len(each) == 2 and each[0] == first[0] for each in (first, *others)):
        return f"{first[0]} {', '.join(each[1] for each in (first, *others))}"
    return ", ".join(names)


def run_name(first: Sequence[str], last: Sequence[str], times: int) -> str:
    """Names of blocks that repeat.

    >>> run_name(["0"], ["11"], 12), run_name(["fc2", "act2"], ["fc9", "act9"], 8)
    ('0 … 11  × 12', 'fc2, act2 … fc9, act9  × 8')
    """
    return f"{', '.join(first)} … {', '.join(last)}  × {times}"
