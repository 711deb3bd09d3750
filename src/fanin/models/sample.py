"""What a built-in model takes as input."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample that a model accepts: real numbers of this shape, or tokens.

    A built-in model whose first layer does not tell what it reads carries it as its attribute `sample`: a `Sample`, or
    a mapping of the names of forward's arguments to a `Sample` each, where there are several.

    Attributes:
        shape: without the batch: (1, 28, 28), or (16,) tokens.
        tokens: size of the vocabulary; None for real numbers, which are drawn uniformly in [0, 1).
        range: bounds of real numbers.

    >>> Sample((16,), tokens=256).tokens
    256
    """

    shape: tuple[int, ...]
    tokens: int | None = None
    range: tuple[float, float] = (0.0, 1.0)
