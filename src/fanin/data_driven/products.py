"""Operations that are linear in a weight: where the weight stands, and how to run them without their bias."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor

Args = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Operand:
    """A weight among the arguments of an operation.

    Attributes:
        at: its position.
        free: its dimension that indexes outputs.
        channel: the dimension of the result that runs along it; None where the two do not run together.
        bias: position of the bias that the operation adds; None where it adds none.
    """

    at: int
    free: int
    channel: int | None
    bias: int | None = None


def operands(op: str, args: Args) -> Iterator[Operand]:
    """The arguments of an operation that its result is linear in and that may be weights.

    >>> import torch
    >>> list(operands("mm", (torch.ones(5, 3), torch.ones(3, 4))))[0]
    Operand(at=1, free=1, channel=1, bias=None)
    """
    match op:
        case "mm":
            yield from (Operand(1, 1, 1), Operand(0, 0, 0))
        case "addmm":
            yield from (Operand(2, 1, 1, 0), Operand(1, 0, 0, 0))
        case "bmm":
            yield from (Operand(1, 2, 2), Operand(0, 1, 1))
        case "baddbmm":
            yield from (Operand(2, 2, 2, 0), Operand(1, 1, 1, 0))
        case "mv":
            yield Operand(0, 0, 0)
        case "addmv":
            yield Operand(1, 0, 0, 0)
        case "_grouped_mm":
            yield Operand(1, args[1].dim() - 1, args[0].dim() - 1)
        case "convolution":
            transposed, grouped = bool(args[6]), args[8] > 1
            yield Operand(1, int(transposed), None if transposed and grouped else _channel(args[0], args[1]), 2)
        case "embedding" | "_embedding_bag" | "_embedding_bag_forward_only":
            yield Operand(0, 1, None)
        case "_trilinear":
            yield Operand(1, 0, None)
        case _:
            return


def without_bias(op: str, args: Args, kwargs: dict[str, Any]) -> tuple[Args, dict[str, Any], Tensor | None]:
    """The arguments with which the operation adds no bias, and the bias as it is to be added to the result."""
    if op == "convolution" and args[2] is not None:
        bias = args[2].reshape(-1, *[1] * (args[1].dim() - 2))
        return (*args[:2], None, *args[3:]), kwargs, bias
    if op in ("addmm", "baddbmm", "addmv"):
        beta = kwargs.get("beta", 1)
        return args, kwargs | {"beta": 0}, args[0] if beta == 1 else args[0] * beta
    return args, kwargs, None


def _channel(signal: Tensor, weight: Tensor) -> int:
    return 1 if signal.dim() == weight.dim() else 0
