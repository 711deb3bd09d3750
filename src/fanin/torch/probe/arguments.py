"""Arguments of a call, given by place or by name."""

from __future__ import annotations

from typing import Any

Args = tuple[Any, ...]
Kwargs = dict[str, Any]


def argument(args: Args, kwargs: Kwargs, place: int, name: str, default: Any = None) -> Any:
    """The argument at a place or of a name.

    >>> argument((1, 2), {"bias": 3}, 2, "bias")
    3
    """
    return args[place] if len(args) > place else kwargs.get(name, default)
