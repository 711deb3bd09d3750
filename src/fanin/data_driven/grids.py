"""Factors of the elements of a tensor, alike along most dimensions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise, product
from math import gcd

import numpy as np
from numpy.typing import NDArray

from fanin.random.part import Part

Factors = NDArray[np.float64]
"""One dimension for each of the tensor's, of size 1 where the factors do not change along it."""


def multiplied(
    factors: Factors, shape: Sequence[int], start: Sequence[int], by: Factors, size: Sequence[int]
) -> Factors:
    """The factors after those of the rectangle [start, start + size) were multiplied by `by`, which fits it.

    >>> multiplied(np.ones((1, 1)), (3, 4), (1, 0), np.full((1, 1), 2.0), (1, 4)).tolist()
    [[1.0], [2.0], [1.0]]
    """
    full = [
        n if n > 1 and (count < n or many > 1) else now
        for n, count, many, now in zip(shape, size, by.shape, factors.shape, strict=True)
    ]
    changed = np.array(np.broadcast_to(factors, full))
    inside = [slice(a, a + m) if f > 1 else slice(None) for a, m, f in zip(start, size, full, strict=True)]
    changed[tuple(inside)] *= by
    return changed


def grid(factors: Factors, shape: Sequence[int]) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """The fewest equal blocks of a tensor in which each factor is one: the factors, and how many along each dimension.

    >>> grid(np.array([[1.0], [1.0], [2.0], [2.0]]), (4, 7))
    ((1.0, 2.0), (2, 1))
    """
    for axis, n in enumerate(shape):
        if factors.shape[axis] > 1:
            step = gcd(n, *_edges(factors, axis))
            factors = factors.take(range(0, n, step), axis=axis)
    return tuple(factors.ravel().tolist()), tuple(factors.shape)


def visible_cells(
    parts: Sequence[Part], factors: Factors, shape: Sequence[int]
) -> Iterator[tuple[tuple[int, ...], tuple[int, ...], int | None]]:
    """A tensor cut into rectangles of one factor and one owner: start, size, and the last part that covers it.

    None for what no part covers.

    >>> list(visible_cells([Part((1,), (2,))], np.array([1.0, 2.0, 2.0]), (3,)))
    [((0,), (1,), None), ((1,), (2,), 0)]
    """
    covered = [[np.isin(np.arange(n), part.places(axis)) for axis, n in enumerate(shape)] for part in parts]
    cuts = [_cuts(factors, axis, n, [inside[axis] for inside in covered]) for axis, n in enumerate(shape)]
    for runs in product(*(list(pairwise(edges)) for edges in cuts)):
        start = tuple(first for first, _ in runs)
        owners = [
            number
            for number, inside in enumerate(covered)
            if all(along[first] for along, first in zip(inside, start, strict=True))
        ]
        yield start, tuple(end - first for first, end in runs), owners[-1] if owners else None


def _cuts(factors: Factors, axis: int, n: int, covered: Sequence[NDArray[np.bool_]]) -> list[int]:
    """Where the factors change along a dimension, or a part begins or ends; 0 and n among them."""
    places = {0, n, *(_edges(factors, axis) if factors.shape[axis] > 1 else ())}
    for along in covered:
        places.update((np.flatnonzero(along[1:] != along[:-1]) + 1).tolist())
    return sorted(places)


def within(factors: Factors, places: Sequence[Sequence[int] | NDArray[np.intp]]) -> Factors:
    """The factors at these indices of each dimension."""
    for axis, chosen in enumerate(places):
        if factors.shape[axis] > 1:
            factors = factors.take(np.asarray(chosen, np.intp), axis=axis)
    return factors


def _edges(factors: Factors, axis: int) -> list[int]:
    """Where the factors change along a dimension."""
    rows = np.moveaxis(factors, axis, 0).reshape(factors.shape[axis], -1)
    return (np.flatnonzero((rows[1:] != rows[:-1]).any(axis=1)) + 1).tolist()
