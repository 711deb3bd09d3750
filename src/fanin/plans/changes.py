"""What a `Copy` step does to stored values on their way into the model: which changes there are.

A change is `(op, *arguments)`, JSON data. Integers are dimensions (from 0), sizes and indices; an operand is
`(key, changes)`, another tensor of the same file with changes of its own.

    ("transpose", d, e)                swap two dimensions
    ("permute", d, e, …)               all dimensions in another order
    ("reshape", n, m, …)               the same values, row by row
    ("unsqueeze", d), ("squeeze", d)   add or drop a dimension of size 1
    ("slice", d, begin, end)           those indices of a dimension
    ("select", d, index)               one index; the dimension goes
    ("take", d, i, j, …)               these indices of a dimension, in this order, repeats allowed
    ("concat", d, operand, …)          joined along a dimension
    ("stack", d, operand, …)           stacked along a new dimension
    ("pairs_to_halves", heads)         rows of each head from interleaved rotary pairs to halves
    ("halves_to_pairs", heads)         its inverse
    ("add", c), ("scale", c)           x + c and c · x, in float32 where the stored type is narrower
    ("scale_along", d, c, …)           each of as many equal runs of a dimension times its own number, likewise
    ("cast", dtype)                    rounded to another dtype
    ("pad", d, size, "zeros"|"mean")   new indices at the end: zeros, or the mean of the old ones
    ("pad_drawn", law, n, m, …)        grown to the shape n × m × …, the new elements drawn from a law
    ("tile", d, size)                  indices repeated in turn until there are so many
    ("adapt_channels", n)              input channels (dimension 1) of a convolution
    ("inflate", t)                     a 2-D kernel made 3-D: repeated t times and divided by t
    ("resample_positions", d, prefix, old…, new…)   rows of a grid of positions, after a prefix that stays
    ("resample_biases", extra, h, w, H, W)          a table of relative positions, before rows that stay
    ("resample_patches", H, W)         a patch embedding for patches of another size
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

from fanin.errors import PlanError
from fanin.initializers import Initializer

FILLS = ("zeros", "mean")
MAX_CHANGES = 64  # of one tensor, one after the other

KINDS: Mapping[str, tuple[str, str]] = {
    "transpose": ("ii", ""),
    "permute": ("", "i"),
    "reshape": ("", "i"),
    "unsqueeze": ("i", ""),
    "squeeze": ("i", ""),
    "slice": ("iii", ""),
    "select": ("ii", ""),
    "take": ("i", "i"),
    "concat": ("i", "o"),
    "stack": ("i", "o"),
    "pairs_to_halves": ("n", ""),
    "halves_to_pairs": ("n", ""),
    "add": ("f", ""),
    "scale": ("f", ""),
    "scale_along": ("if", "f"),
    "cast": ("s", ""),
    "pad": ("ins", ""),
    "pad_drawn": ("l", "n"),
    "tile": ("in", ""),
    "adapt_channels": ("n", ""),
    "inflate": ("n", ""),
    "resample_positions": ("ii", "n"),
    "resample_biases": ("innnn", ""),
    "resample_patches": ("nn", ""),
}
"""The kinds of each op's arguments, one letter each, and the kind of all further ones ("" where there are none).

i: a whole number from 0; n: one from 1; f: a finite number; s: a text; l: a law; o: an operand.
"""


def check_changes(changes: Any) -> None:
    """Raise unless these are changes that a plan may have: known ops, each with arguments of the right kinds.

    Raises:
        PlanError: what is wrong.
        UnknownNameError, ArgumentError: a law that there is not.
    """
    if not isinstance(changes, tuple) or len(changes) > MAX_CHANGES:  # pyright: ignore[reportUnknownArgumentType]
        raise PlanError(f"'changes' must be a list of at most {MAX_CHANGES} changes")
    for change in changes:  # pyright: ignore[reportUnknownVariableType]
        if not isinstance(change, tuple) or not change or not isinstance(change[0], str):
            raise PlanError(f"a change must be [op, arguments …], not {change!r:.40}")
        _check(*change)


def _check(op: str, *arguments: Any) -> None:
    if op not in KINDS:
        raise PlanError(f"a plan cannot change values by {op!r}; known: {', '.join(KINDS)}")
    first, rest = KINDS[op]
    if len(arguments) < len(first) or (len(arguments) > len(first) and not rest):
        raise PlanError(f"the change {op!r} takes {len(first)} arguments, not {len(arguments)}")
    kinds = first + rest * (len(arguments) - len(first))
    for kind, argument in zip(kinds, arguments, strict=True):
        if not _fits(kind, argument):
            raise PlanError(f"the change {op!r} cannot have the argument {argument!r:.40}")
    if op == "pad" and arguments[2] not in FILLS:
        raise PlanError(f"values are padded with {' or '.join(FILLS)}, not {arguments[2]!r:.40}")
    if op == "resample_positions" and len(arguments) not in (4, 6):
        raise PlanError("positions are resampled from one or two sizes to as many")


def _fits(kind: str, argument: Any) -> bool:
    match kind:
        case "i":
            return type(argument) is int and argument >= 0
        case "n":
            return type(argument) is int and argument >= 1
        case "f":
            return type(argument) in (int, float) and isfinite(argument)
        case "s":
            return _is_text(argument)
        case "l":
            return isinstance(argument, dict) and bool(Initializer.from_dict(dict(argument)))  # pyright: ignore[reportUnknownArgumentType]
        case _:
            if not (isinstance(argument, tuple) and len(argument) == 2 and _is_text(argument[0])):  # pyright: ignore[reportUnknownArgumentType]
                return False
            check_changes(argument[1])
            return True


def _is_text(argument: Any) -> bool:
    return isinstance(argument, str) and not any("\ud800" <= letter <= "\udfff" for letter in argument)
