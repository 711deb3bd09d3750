"""What the casts, choices and divisions of a kernel mean for tensors.

Every operation is one call of torch in eager mode, so no multiply and add are contracted into one rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from fanin.torch.device.roots import root

_LOW = 0xFFFFFFFF
_HELD = {
    "float32": torch.float32,
    "float64": torch.float64,
    "int32": torch.int32,
    "uint32": torch.int64,  # torch has hardly any arithmetic for its own uint32
    "int64": torch.int64,
    "uint64": torch.int64,
}
"""The dtype of the tensors that hold a kernel's scalars."""
_BITS = _HELD | {"uint32": torch.int32}


def cast(value: Any, kind: str) -> Any:
    """`value` as Numba's type `kind`: floats are rounded, integers keep their low bits.

    >>> cast(torch.tensor([-1]), "uint32").tolist(), cast(2**31, "int32"), cast(0.1, "float32")
    ([4294967295], -2147483648, np.float32(0.1))
    """
    if isinstance(value, torch.Tensor):
        held = value.to(_HELD[kind])
        return held & _LOW if kind == "uint32" else held
    if kind.startswith("float"):
        return np.float32(value) if kind == "float32" else float(value)
    bits = int(kind[-2:])
    low = int(value) & ((1 << bits) - 1)
    return low if kind == "uint32" or low < 1 << (bits - 1) else low - (1 << bits)


def reinterpret(value: torch.Tensor, old: str, new: str) -> torch.Tensor:
    """The bits of `value`, cast to the type `old`, as the type `new` of the same width.

    >>> reinterpret(torch.tensor([1.0]), "float32", "int32").tolist()
    [1065353216]
    """
    bits = value.to(_BITS[old]).view(_BITS[new])
    return cast(bits, new) if new == "uint32" else bits


def choose(condition: Any, yes: Any, no: Any) -> Any:
    """`yes if condition else no`, for each element; tuples are chosen from member by member."""
    if not isinstance(condition, torch.Tensor):
        return yes if condition else no
    if isinstance(yes, tuple):
        return tuple(choose(condition, *each) for each in zip(yes, no, strict=True))
    if isinstance(yes, torch.Tensor) or isinstance(no, torch.Tensor):
        return torch.where(condition, _plain(yes), _plain(no))
    dtype = torch.int64 if isinstance(yes, int) else torch.float32 if type(yes) is np.float32 else torch.float64
    filled = partial(torch.full, (), dtype=dtype, device=condition.device)
    return torch.where(condition, filled(_plain(yes)), filled(_plain(no)))


def divide(top: Any, bottom: Any) -> Any:
    """top / bottom, rounded once: with a number above or below, torch may multiply by a rounded reciprocal instead."""
    tensor = top if isinstance(top, torch.Tensor) else bottom
    if not isinstance(tensor, torch.Tensor):
        return top / bottom
    above, below = (
        each if isinstance(each, torch.Tensor) else torch.full_like(tensor, float(each)) for each in (top, bottom)
    )
    return torch.div(above, below)


def least(first: Any, second: Any) -> Any:
    """Numba's (and Python's) min: the first where they are equal, so that −0 and 0 are told apart as there."""
    return choose(second < first, second, first)


def greatest(first: Any, second: Any) -> Any:
    """Numba's max."""
    return choose(second > first, second, first)


def _root(value: Any) -> Any:
    return root(value) if isinstance(value, torch.Tensor) else np.sqrt(value)


def _plain(value: Any) -> Any:
    return value.item() if type(value) is np.float32 else value


CASTS: dict[str, Callable[[Any], Any]] = {kind: partial(cast, kind=kind) for kind in _HELD}
"""Numba's types, called."""

NUMPY = SimpleNamespace(sqrt=_root, **CASTS)
"""What kernels use of NumPy."""
