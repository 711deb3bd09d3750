"""Square roots rounded to nearest, from any `torch.sqrt` that errs by less than one unit in the last place.

`torch.sqrt` itself is not enough: on a CPU it may call MKL, which rounds one float32 root in six the wrong way.
"""

from __future__ import annotations

import torch

_SPLITTER = 2.0**27 + 1


def root(x: torch.Tensor) -> torch.Tensor:
    """√x for float32 or float64 x ≥ 0 whose square root is a normal number or 0, as IEEE 754 rounds it.

    Source: Dekker, "A floating-point technique for extending the available precision", 1971 (the exact square).

    >>> root(torch.tensor([2.0, 0.0])).tolist()
    [1.4142135381698608, 0.0]
    """
    if x.dtype is torch.float32:
        # No square root of a float32 is nearer than 2⁻⁵¹ of itself to a point where rounding changes sides.
        return torch.sqrt(x.double()).float()
    return _nearest(x, torch.sqrt(x))


def _nearest(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """y or a neighbour one unit away, whichever is nearer to √x."""
    bits = y.view(torch.int64)
    above, below = (bits + 1).view(torch.float64), torch.where(y > 0, bits - 1, bits).view(torch.float64)
    rest = _minus_square(x, y)
    # √x > y + unit/2 exactly if rest > y·unit, as all three are multiples of unit²; and so below y.
    nearest = torch.where(rest > y * (above - y), above, y)
    return torch.where((rest <= y * (below - y)) & (y > 0), below, nearest)


def _minus_square(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """x − y², rounded once, for y near √x."""
    square = y * y
    scaled = y * _SPLITTER
    high = scaled - (scaled - y)
    low = y - high
    error = ((high * high - square) + high * low * 2.0) + low * low
    return (x - square) - error
