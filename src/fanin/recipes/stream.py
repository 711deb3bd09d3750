"""What `auto` makes of residual streams: the variance they start at, and each branch's share of it."""

from __future__ import annotations

from math import sqrt

from fanin.recipes.tensor_info import TensorInfo

POSITION = 0.5
"""Standard deviation of positions over that of the tokens that they are added to."""


def table_std(tensor: TensorInfo, width: int) -> float:
    """1, or for a table that is the head too what gives logits of variance 1: 1/√width over what the head's input is
    multiplied by.

    >>> table_std(TensorInfo("wte", (99, 64), "float32", "parameter", "embedding", tied_head=True), 64)
    0.125
    """
    return 1 / (sqrt(width) * tensor.head_scale) if tensor.tied_head else 1.0


def started(tensor: TensorInfo) -> float:
    """The variance at which the stream of the tensor's place starts; 1 where that is not known.

    >>> from fanin.graph import Place
    >>> place = Place(branch=0, branches=24, width=768, normed="before", tables=2.0)
    >>> tensor = TensorInfo("w", (768, 768), "float32", "parameter", "projection", place=place, tied_head=True)
    >>> round(started(tensor) * 768, 9)
    2.0
    """
    place = tensor.place
    if not place.width:
        return 1.0
    tables = place.tables + POSITION**2 * place.positions
    return tables * table_std(tensor, place.width) ** 2 + place.others or 1.0


def ends(tensor: TensorInfo) -> bool:
    """The tensor decides how much a residual branch adds."""
    place = tensor.place
    return place.last and place.branches > 1 and not tensor.normed and not place.scaled


def share(tensor: TensorInfo) -> float:
    """The variance of what a branch adds for each one that it reads.

    1/branches of what the stream starts at, where the branch reads the stream through a norm or ends in one; 1/branches
    of the stream itself, where it is read as it is. 1 for weights that end no branch, and where a learned factor shuts
    it.
    """
    if not ends(tensor):
        return 1.0
    relative = tensor.place.normed == "before" or tensor.role == "norm scale"
    return (started(tensor) if relative else 1.0) / tensor.place.branches


def why(tensor: TensorInfo) -> str:
    """The share in words."""
    count, place = tensor.place.branches, tensor.place
    if place.normed == "after":
        return f"one of {count} branches, variance 1/{count} each beside a stream that norms keep at 1"
    if place.normed == "before" or tensor.role == "norm scale":
        one = f"{started(tensor):.3g}"
        return (
            f"one of {count} branches, variance {one}/{count} each: together they add as much as the stream starts "
            f"with, {one}"
        )
    return f"one of {count} branches, variance 1/{count} of the stream each: together they make it ×{_grown(count):.2f}"


def _grown(count: int) -> float:
    return (1 + 1 / count) ** count
