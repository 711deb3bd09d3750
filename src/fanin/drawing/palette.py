"""Colours by what parameters are for; dark text on each has a contrast above 7."""

from __future__ import annotations

from collections.abc import Sequence

TEXT, QUIET, LINE, SKIP, FRAME = "#1b1f24", "#57606a", "#57606a", "#c2410c", "#afb8c1"
PLAIN = "#ffffff"
_FAMILIES = (
    (("embedding", "position", "token", "relative position"), "#fde9c8"),
    (("head",), "#f9d4d8"),
    (("attention", "packed"), "#d6e6fb"),
    (("mlp", "projection", "lora", "modulation"), "#d5efdc"),
    (("convolution", "transposed convolution"), "#cfeeee"),
    (("recurrent", "state-space", "time step"), "#e6dcf8"),
    (("router",), "#f6dcef"),
    (("norm", "scale", "layer scale", "bias", "slope"), "#ececef"),
)


def fill(roles: Sequence[str]) -> str:
    """The colour of a box with parameters of these roles.

    >>> fill(["attention query"]) == fill(["packed"]), fill([]) == PLAIN
    (True, True)
    """
    for words, colour in _FAMILIES:
        if roles and roles[0].startswith(words):
            return colour
    return PLAIN
