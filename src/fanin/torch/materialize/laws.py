"""Whether a law can be drawn into a tensor, without drawing it."""

from __future__ import annotations

import torch

from fanin.errors import PlanError
from fanin.initializers import Constant, Initializer
from fanin.initializers.blocks import Blocks
from fanin.random import Region, Stream
from fanin.torch.capture.geometry import Geometry
from fanin.torch.fill import fill
from fanin.torch.replay import Draws


def check_law(law: Initializer, tensor: torch.Tensor) -> None:
    """Raise unless `law` can be drawn into a tensor like this one.

    Raises:
        PlanError, ArgumentError: the law needs another rank, shape, dtype or layout.
    """
    _check_parts(law, tuple(tensor.shape), tensor.dtype)
    if not tensor.is_floating_point() and not isinstance(law, Constant):
        raise PlanError(f"{law.describe()} cannot be drawn in dtype {tensor.dtype}: only constants fit it")
    if not isinstance(law, Constant) and not tensor.is_meta and Geometry.of(tensor).repeats:
        raise PlanError(f"{law.describe()} cannot be drawn into an expanded tensor: only constants fit it")


def check_draw(draws: Draws) -> torch.Tensor:
    """What a program's draw looks like, as a meta tensor, if it can be drawn.

    Raises:
        PlanError, ArgumentError: the law does not fit, or there is no such stream.
    """
    if not isinstance(draws.stream, str) or type(draws.lane) is not int:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise PlanError(f"the program draws from stream {draws.stream!r}, lane {draws.lane!r}: not a name and a number")
    Stream.named(0, draws.stream).at_lane(draws.lane)
    check_law(draws.law, draws.blank)
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
        fill(torch.empty(1, dtype=dtype), law, Stream(0))
    except RuntimeError as error:
        raise PlanError(f"{law.describe()} does not fit dtype {dtype}: {error}") from None
