"""A law from a row of float64 numbers, in compiled code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import float32, float64, uint32
from numba.extending import overload

from fanin.random.kernels.decorators import INLINED
from fanin.random.laws import (
    Central32,
    Constant32,
    Constant64,
    Normal32,
    Normal64,
    Truncated32,
    Truncated64,
    Uniform32,
    Uniform64,
)  # fmt: skip


def constant32(kind: Any, row: Any) -> Constant32:
    return Constant32(float32(row[0]))


def constant64(kind: Any, row: Any) -> Constant64:
    return Constant64(float64(row[0]))


def uniform32(kind: Any, row: Any) -> Uniform32:
    return Uniform32(float32(row[0]), float32(row[1]), float32(row[2]), float32(row[3]))


def uniform64(kind: Any, row: Any) -> Uniform64:
    return Uniform64(row[0], row[1], row[2], row[3])


def normal32(kind: Any, row: Any) -> Normal32:
    return Normal32(float32(row[0]), float32(row[1]))


def normal64(kind: Any, row: Any) -> Normal64:
    return Normal64(row[0], row[1])


def truncated32(kind: Any, row: Any) -> Truncated32:
    limits = float32(row[2]), float32(row[3])
    tails = float32(row[4]), float32(row[5]), float32(row[6])
    return Truncated32(float32(row[0]), float32(row[1]), *limits, *tails, uint32(row[7]))


def central32(kind: Any, row: Any) -> Central32:
    limits = float32(row[2]), float32(row[3])
    return Central32(float32(row[0]), float32(row[1]), *limits, float32(row[4]), float32(row[5]))


def truncated64(kind: Any, row: Any) -> Truncated64:
    return Truncated64(row[0], row[1], row[2], row[3], row[4], row[5], row[6], row[7], uint32(row[8]))


LAWS: dict[type, Callable[..., Any]] = {
    Constant32: constant32,
    Constant64: constant64,
    Uniform32: uniform32,
    Uniform64: uniform64,
    Normal32: normal32,
    Normal64: normal64,
    Truncated32: truncated32,
    Central32: central32,
    Truncated64: truncated64,
}
"""The law of a class from a row: f(kind, row)."""


def law_of(kind: Any, row: Any) -> Any:
    """The law of the class of `kind` whose numbers are `row`, in compiled code."""
    return LAWS[type(kind)](kind, row)


@overload(law_of, jit_options=INLINED, strict=False)
def _law_of(kind: Any, row: Any) -> Callable[..., Any]:
    return LAWS[kind.instance_class]
