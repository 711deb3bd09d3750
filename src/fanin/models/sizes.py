"""What builders ask of the sizes that they are given."""

from __future__ import annotations

from collections.abc import Sequence

from fanin.errors import ArgumentError


def check_sizes(what: str, sizes: Sequence[int], at_least: int) -> None:
    """Raise unless `sizes` are at least so many positive integers.

    Raises:
        ArgumentError: they are not.
    """
    if len(sizes) < at_least or any(type(size) is not int or size < 1 for size in sizes):
        raise ArgumentError(f"{what} must be at least {at_least} positive integers, got {tuple(sizes)}")


def check_positive(family: str, **sizes: int) -> None:
    """Raise unless every size is a positive integer.

    Raises:
        ArgumentError: one is not; it is named.

    >>> check_positive("vit", depth=12, heads=3)
    """
    for name, size in sizes.items():
        if type(size) is not int or size < 1:
            raise ArgumentError(f"{family}: {name} must be a positive integer, got {size!r}")


def check_image(family: str, shape: Sequence[int]) -> tuple[int, int, int]:
    """(channels, height, width) of one image.

    Raises:
        ArgumentError: not three positive integers.
    """
    check_sizes(f"{family} shape", shape, at_least=3)
    if len(shape) != 3:
        raise ArgumentError(f"{family} needs a shape (channels, height, width), got {tuple(shape)}")
    channels, height, width = shape
    return channels, height, width


def check_dropout(family: str, dropout: float) -> None:
    """Raise unless `dropout` is a probability below 1.

    Raises:
        ArgumentError: it is not.
    """
    if isinstance(dropout, bool) or not 0 <= dropout < 1:
        raise ArgumentError(f"{family}: dropout must be at least 0 and below 1, got {dropout!r}")


def check_choice(family: str, name: str, value: str, choices: Sequence[str]) -> None:
    """Raise unless `value` is one of `choices`.

    Raises:
        ArgumentError: it is not.
    """
    if value not in choices:
        raise ArgumentError(f"{family}: {name} is {' or '.join(choices)}, got {value!r}")
