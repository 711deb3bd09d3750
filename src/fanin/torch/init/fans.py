"""Fans from the shape alone, and gains by name: torch's own conventions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, get_args

from torch import Tensor

from fanin.errors import UnknownNameError
from fanin.gains import Gain
from fanin.gains import gain as gain_of
from fanin.torch.init.drawing import rank_of

FanMode = Literal["fan_in", "fan_out"]
Nonlinearity = str | Callable[..., Any]

_Linear = Literal[
    "linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "sigmoid"
]
_TORCH_GAINS: dict[Any, float] = dict.fromkeys(get_args(_Linear), 1) | {
    "tanh": 5.0 / 3,
    "relu": math.sqrt(2.0),
    "selu": 3.0 / 4,
}


def calculate_gain(nonlinearity: Nonlinearity, param: int | float | None = None) -> float:
    """The factor on a weight's standard deviation that makes up for what `nonlinearity` takes away.

    torch's table where torch has an entry: linear, convolutions and sigmoid 1; tanh 5/3; relu √2;
    leaky_relu √(2/(1 + slope²)); selu 3/4. Anything else, by name or as a function, has the exact forward gain
    1/√E[f(z)²], z ~ N(0, 1), of `fanin.gains`.

    Args:
        nonlinearity: name of a `torch.nn.functional` function, or any function of a tensor or array.
        param: parameter of the function; for leaky_relu its negative slope, 0.01 if None.

    Raises:
        ValueError: a name nobody knows, or a slope that is no number.

    Source: `torch.nn.init.calculate_gain`; He et al. 2015 (arXiv 1502.01852) for the exact ones.

    >>> calculate_gain("leaky_relu", 0.2), round(calculate_gain("gelu"), 4)
    (1.3867504905630728, 1.5335)
    """
    table = _table_gain(nonlinearity, param)
    return _exact_gain(nonlinearity, param).forward if table is None else table


def kaiming_gain(nonlinearity: Nonlinearity, a: float, mode: str) -> float:
    """`calculate_gain`, but the backward gain where `mode` is fan_out and torch's table has no entry."""
    table = _table_gain(nonlinearity, a)
    if table is not None:
        return table
    exact = _exact_gain(nonlinearity, None)  # `a` is a slope for leaky_relu only
    return exact.backward if mode.lower() == "fan_out" else exact.forward


def fans(tensor: Tensor) -> tuple[int, int]:
    """(fan_in, fan_out) as `torch.nn.init` reads them: dimension 1 is in, 0 is out, all others the kernel.

    Wrong for grouped convolutions (fan_out) and transposed ones (swapped); `fanin.axes.Axes` has the right ones.

    Raises:
        ValueError: fewer than two dimensions.
    """
    if rank_of(tensor) < 2:
        raise ValueError("Fan in and fan out can not be computed for tensor with fewer than 2 dimensions")
    receptive = math.prod(tensor.shape[2:])
    return tensor.size(1) * receptive, tensor.size(0) * receptive


def fan(tensor: Tensor, mode: str) -> int:
    """The fan that `mode` names.

    Raises:
        ValueError: another mode than fan_in and fan_out, or fewer than two dimensions.
    """
    mode = mode.lower()
    modes = list(get_args(FanMode))
    if mode not in modes:
        raise ValueError(f"Mode {mode} not supported, please use one of {modes}")
    return fans(tensor)[modes.index(mode)]


def _table_gain(nonlinearity: Nonlinearity, param: Any) -> float | None:
    if nonlinearity == "leaky_relu":
        return math.sqrt(2.0 / (1 + _slope(param) ** 2))
    return _TORCH_GAINS.get(nonlinearity) if isinstance(nonlinearity, str) else None


def _slope(param: Any) -> float:
    if param is None:
        return 0.01
    if isinstance(param, bool) or not isinstance(param, int | float):
        raise ValueError(f"negative_slope {param} not a valid number")
    return param


def _exact_gain(nonlinearity: Nonlinearity, param: float | None) -> Gain:
    if not isinstance(nonlinearity, str) and not callable(nonlinearity):
        raise ValueError(f"Unsupported nonlinearity {nonlinearity}")
    try:
        return gain_of(nonlinearity, param)
    except UnknownNameError as unknown:
        raise ValueError(f"Unsupported nonlinearity {nonlinearity}") from unknown
