"""Whether a law can be drawn into a tensor, without drawing it."""

from __future__ import annotations

from functools import lru_cache

import torch

from fanin.errors import PlanError
from fanin.initializers import Constant, Initializer
from fanin.initializers.blocks import Blocks
from fanin.random import Region, Stream
from fanin.torch.fill import NATIVE, fill
from fanin.torch.replay import Draws


@lru_cache(maxsize=1024)  # a model has many tensors and few laws
def check_law(law: Initializer, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    """Raise unless `law` can be drawn into a tensor of this shape and dtype.

    Raises:
        PlanError, ArgumentError: the law needs another rank, shape or dtype, or has numbers that do not fit it.
    """
    _check_parts(law, shape, dtype)
    if not dtype.is_floating_point and not isinstance(law, Constant):
        raise PlanError(f"{law.describe()} cannot be drawn in dtype {dtype}: only constants fit it")
    if law.elementwise and dtype in NATIVE and 0 not in shape:
        one = Region(shape, (0,) * len(shape), (1,) * len(shape))
        fill(torch.empty(one.size, dtype=dtype, device="cpu"), law, Stream(0), region=one, threads=1)


def check_draw(draws: Draws) -> torch.Tensor:
    """What a program's draw looks like, as a meta tensor, if it can be drawn.

    Raises:
        PlanError, ArgumentError: the law does not fit, or there is no such stream.
    """
    if not isinstance(draws.stream, str) or type(draws.lane) is not int:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise PlanError(f"the program draws from stream {draws.stream!r}, lane {draws.lane!r}: not a name and a number")
    Stream.named(0, draws.stream).at_lane(draws.lane)
    check_law(draws.law, draws.shape, draws.dtype)
    return draws.blank


def _check_parts(law: Initializer, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    if isinstance(law, Blocks):
        _check_parts(law.base, shape, dtype)
        for part, each in law.pieces:
            Region(shape, part.start, tuple(b - a for a, b in zip(part.start, part.end, strict=True)))
            _check_parts(each, part.joined, dtype)
    elif isinstance(law, Constant):
        _check_constant(law, dtype)
    else:
        law.moments(shape)


def _check_constant(law: Constant, dtype: torch.dtype) -> None:
    try:
        fill(torch.empty(1, dtype=dtype, device="cpu"), law, Stream(0))
    except RuntimeError as error:
        raise PlanError(f"{law.describe()} does not fit dtype {dtype}: {error}") from None
