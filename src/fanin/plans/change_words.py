"""Changes of stored values, told in a few words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fanin.names import Change, Changes

_SHOWN = 2


def told(changes: Changes) -> str:
    """What is done, in order; `changes` are those that `check_changes` lets pass.

    >>> told((("transpose", 0, 1), ("resample_positions", 0, 1, 14, 14, 16, 16)))
    'transposed, resampled 14×14 → 16×16 (1 kept)'
    """
    return ", ".join(map(_words, changes))


def _words(change: Change) -> str:
    match change:
        case ("transpose", d, e):
            return "transposed" if {d, e} == {0, 1} else f"dimensions {d} and {e} swapped"
        case ("permute", *order):
            return f"dimensions in the order {', '.join(map(str, order))}"
        case ("reshape", *shape):
            return f"as {_sizes(shape) or 'a scalar'}"
        case ("unsqueeze" | "squeeze" as op, d):
            return f"dimension {d} {'added' if op == 'unsqueeze' else 'dropped'}"
        case ("slice", d, begin, end):
            return f"{begin}:{end} of dimension {d}"
        case ("select", d, index):
            return f"{index} of dimension {d}"
        case ("take", d, *indices):
            return f"{len(indices)} indices of dimension {d}"
        case ("concat" | "stack" as op, _, *operands):
            return f"{'joined' if op == 'concat' else 'stacked'} with {_keys(operands)}"
        case ("pairs_to_halves", heads):
            return f"rotary pairs of {heads} heads to halves"
        case ("halves_to_pairs", heads):
            return f"rotary halves of {heads} heads to pairs"
        case _:
            return _new_values(change)


def _new_values(change: Change) -> str:
    match change:
        case ("add", c):
            return f"{c:+g}"
        case ("scale", c):
            return f"× {c:g}"
        case ("scale_along", d, *factors):
            return f"dimension {d} × {len(factors)} factors from {min(factors):g} to {max(factors):g}"
        case ("cast", dtype):
            return f"as {dtype}"
        case ("pad", d, size, fill):
            return f"dimension {d} padded to {size} with {'their mean' if fill == 'mean' else fill}"
        case ("pad_drawn", _, *shape):
            return f"grown to {_sizes(shape)} with drawn values"
        case ("tile", d, size):
            return f"dimension {d} repeated to {size}"
        case ("adapt_channels", size):
            return f"input channels adapted to {size}"
        case ("inflate", depth):
            return f"inflated over {depth} frames"
        case ("resample_positions", _, kept, *sizes):
            return _resampled(sizes, kept)
        case ("resample_biases", kept, *sizes):
            return _resampled(sizes, kept)
        case ("resample_patches", h, w):
            return f"patches resampled to {h}×{w}"
        case _:
            return str(change[0])


def _resampled(sizes: Sequence[int], kept: int) -> str:
    half = len(sizes) // 2
    return f"resampled {_sizes(sizes[:half])} → {_sizes(sizes[half:])}{f' ({kept} kept)' if kept else ''}"


def _sizes(sizes: Sequence[int]) -> str:
    return "×".join(map(str, sizes))


def _keys(operands: Sequence[Any]) -> str:
    keys = [key for key, _ in operands]
    more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
    return ", ".join(keys[:_SHOWN]) + more
