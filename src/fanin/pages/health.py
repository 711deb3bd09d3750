"""The verdicts and severities with their signs, so that no colour is needed to tell them apart."""

from __future__ import annotations

# From the gravest: a group of layers shows the gravest of its own.
SIGNS = {
    "non-finite": "∞",
    "symmetric": "≡",
    "dead": "✕",
    "exploding": "▲",
    "collapsing": "◆",
    "vanishing": "▼",
    "error": "✕",
    "warning": "!",
    "info": "i",
    "healthy": "✓",
}
SEVERITIES = ("error", "warning", "info")


def sign(word: str) -> str:
    """The sign of a verdict or a severity; a dot for one that is not known.

    >>> sign("vanishing"), sign("healthy"), sign("someone else's")
    ('▼', '✓', '•')
    """
    return SIGNS.get(word, "•")
