"""Units of a squashing nonlinearity that are stuck where it is flat."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

_FLAT, _MOST, _LARGEST = 0.05, 0.75, 1 << 20


@dataclass(frozen=True, slots=True)
class Flatness:
    """Where a squashing function is flat on its input.

    Attributes:
        flat: true where the slope is at most 5 % of the largest and the value is not zero; the shape of the input,
            perhaps with fewer samples.
    """

    flat: Tensor

    def units(self, channel: int) -> int:
        """How many units (entries of dimension `channel`) are flat for three quarters of their values or more."""
        others = [d for d in range(self.flat.ndim) if d != channel % self.flat.ndim]
        return int((self.flat.float().mean(dim=others) >= _MOST).sum())


def flatness(function: Callable[[Tensor], Tensor], x: Tensor) -> Flatness | None:
    """Where `function` is flat on `x`, judged by its derivative; None unless it squashes (is flat at ±1000).

    Of more than 2²⁰ values only the first samples are looked at. Zeros are not counted: those units are dead.

    >>> flatness(torch.tanh, torch.tensor([0.0, 1.0, 5.0])).flat.tolist()
    [False, False, True]
    >>> flatness(torch.relu, torch.ones(2)) is None
    True
    """
    grid = torch.cat((torch.linspace(-4, 4, 33), torch.tensor([-1000.0, 1000.0]))).to(x.device)
    slopes = _slope(function, grid)
    if slopes is None:
        return None
    steep = float(slopes[1][:-2].amax())
    if float(slopes[1][-2:].amax()) > _FLAT * steep:
        return None
    some = x.detach()
    if some.ndim > 1 and some.numel() > _LARGEST:
        some = some[: max(1, _LARGEST * some.shape[0] // some.numel())]
    values = _slope(function, some)
    return None if values is None else Flatness((values[1] <= _FLAT * steep) & (values[0] != 0))


def _slope(function: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor] | None:
    """(f(x), |f′(x)|); None where the function is not one number in, one out."""
    with torch.enable_grad():
        # A copy, since the function may write in place, and in-place writes to a leaf are forbidden.
        probe = x.detach().clone().requires_grad_()
        try:
            out = function(probe * 1)
        except (RuntimeError, TypeError, ValueError):
            return None
        if out.shape != probe.shape or not out.requires_grad:
            return None
        (slope,) = torch.autograd.grad(out.sum(), probe)
    return out.detach(), slope.abs()
