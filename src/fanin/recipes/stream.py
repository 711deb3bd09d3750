"""What `auto` makes of residual streams: the variance they start at, and each branch's share of it."""

from __future__ import annotations

from math import sqrt

from fanin.recipes.tensor_info import TensorInfo

BEHIND_NORM = 0.4
"""Variance of what reads a stream through a norm, over what `auto` gives it elsewhere: √(2/(5·width)), GPT-2's 0.02 at
width 1000."""

NARROW_POSITION = 0.5
"""Standard deviation of positions over that of what they are added to, where tokens are not of tables of their own."""


def narrowed(tensor: TensorInfo) -> float:
    """By what the weight's variance is multiplied because it reads a norm: in a branch of two weights, and in heads.

    >>> from fanin.graph import Place, Use
    >>> query = Use("q", "linear", behind_norm=True)
    >>> place = Place(branch=0, branches=24, members=2, normed="before")
    >>> narrowed(TensorInfo("q", (768, 768), "float32", "parameter", "attention query", (query,), place=place))
    0.4
    """
    opens = _is_short(tensor) and not tensor.place.last
    return BEHIND_NORM if tensor.behind_norm and (opens or tensor.role == "head") else 1.0


def opened(tensor: TensorInfo) -> bool:
    """The tensor reads a weight that is `narrowed`."""
    return _is_short(tensor) and tensor.opening is not None and tensor.opening.behind_norm


def _is_short(tensor: TensorInfo) -> bool:
    return tensor.place.normed != "" and tensor.place.members == 2


def table_std(tensor: TensorInfo, width: int) -> float:
    """1, or for a table that is the head too what the head is given: 1/√width over what its input is multiplied by, and
    √`BEHIND_NORM` of it where it reads a norm.

    >>> table_std(TensorInfo("wte", (99, 64), "float32", "parameter", "embedding", tied_head=True), 64)
    0.125
    """
    if not tensor.tied_head:
        return 1.0
    return sqrt(BEHIND_NORM if tensor.head_behind_norm else 1.0) / (sqrt(width) * tensor.head_scale)


def beside_std(tensor: TensorInfo, width: int) -> float:
    """Standard deviation of what positions are added to: that of tables, 1 for patches and what else weights make."""
    return 1.0 if tensor.place.others and not tensor.place.tables else table_std(tensor, width)


def position(tensor: TensorInfo) -> float:
    """Standard deviation of positions over that of what they are added to: 1 beside tables of tokens that are not the
    head's, else 1/2.

    Such tables have variance 1, which training moves slowly: positions must be seen from the start. Beside patches,
    and tokens as narrow as heads, they need not.

    >>> from fanin.graph import Place
    >>> place = Place(tables=1.0, positions=1.0)
    >>> position(TensorInfo("wpe", (32, 64), "float32", "parameter", "position", place=place))
    1.0
    """
    return 1.0 if tensor.place.tables and not tensor.tied_head else NARROW_POSITION


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
    tables = (place.tables + position(tensor) ** 2 * place.positions) * beside_std(tensor, place.width) ** 2
    return tables + place.others or 1.0


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
