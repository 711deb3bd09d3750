"""Other numbers in the same shape."""

from __future__ import annotations

import torch

from fanin.errors import PlanError

DTYPES = {str(dtype).removeprefix("torch."): dtype for dtype in vars(torch).values() if isinstance(dtype, torch.dtype)}
_EXACT = (torch.float32, torch.float64)


def computing(x: torch.Tensor) -> torch.Tensor:
    """The same values in a dtype to compute in: float64 and float32 as they are, all else as float32.

    Raises:
        PlanError: complex values.
    """
    if x.is_complex():
        raise PlanError(f"values of dtype {x.dtype} cannot be computed with here")
    return x if x.dtype in _EXACT else x.float()


def add(x: torch.Tensor, c: float) -> torch.Tensor:
    """x + c, in float32 where the stored type is narrower; not rounded back.

    >>> add(torch.tensor([1.0], dtype=torch.bfloat16), -1.0)
    tensor([0.])
    """
    return computing(x) + c


def scale(x: torch.Tensor, c: float) -> torch.Tensor:
    """c · x, in float32 where the stored type is narrower; not rounded back."""
    return computing(x) * c


def scale_along(x: torch.Tensor, d: int, *factors: float) -> torch.Tensor:
    """Each of as many equal runs of dimension d times its factor, in float32 where the stored type is narrower.

    Not rounded back.

    Raises:
        PlanError: so many runs do not divide the dimension.

    >>> scale_along(torch.ones(4), 0, 2.0, 3.0)
    tensor([2., 2., 3., 3.])
    """
    if x.shape[d] % len(factors):
        raise PlanError(f"dimension {d} of shape {tuple(x.shape)} cannot be cut into {len(factors)} equal runs")
    values = computing(x)
    each = torch.tensor(factors, dtype=values.dtype, device=values.device)
    each = each.repeat_interleave(x.shape[d] // len(factors))
    return values * each.reshape([-1 if axis == d else 1 for axis in range(x.dim())])


def cast(x: torch.Tensor, dtype: str) -> torch.Tensor:
    """Rounded to another dtype.

    Raises:
        PlanError: torch has no such dtype.
    """
    if dtype not in DTYPES:
        raise PlanError(f"torch has no dtype {dtype!r}")
    return x.to(DTYPES[dtype])
