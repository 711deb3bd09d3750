"""Formulas of the named activations."""

from __future__ import annotations

from collections.abc import Callable
from math import erf, pi, sqrt
from typing import Any

import numpy as np

from fanin.gains.closed_forms import SELU_ALPHA, SELU_SCALE

_erf = np.vectorize(erf, otypes=[np.float64])


def _sigmoid(x: Any) -> Any:
    return (1 + np.tanh(x / 2)) / 2


def _gelu_tanh(x: Any) -> Any:
    return x * (1 + np.tanh(sqrt(2 / pi) * (x + 0.044715 * x**3))) / 2


def softplus(x: Any, beta: float = 1.0) -> Any:
    """log(1 + e^(βx)) / β."""
    return np.logaddexp(0, beta * x) / beta


def celu(x: Any, alpha: float = 1.0) -> Any:
    """x for x > 0, α·(e^(x/α) − 1) below."""
    return np.maximum(x, 0) + alpha * np.expm1(np.minimum(x, 0) / alpha)


def leaky_relu(x: Any, slope: float = 0.01) -> Any:
    """x for x > 0, slope·x below."""
    return np.where(x > 0, x, slope * x)


def elu(x: Any, alpha: float = 1.0) -> Any:
    """x for x > 0, α·(eˣ − 1) below."""
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


FIXED: dict[str, Callable[[Any], Any]] = {
    "gelu_tanh": _gelu_tanh,
    "hardsigmoid": lambda x: np.clip(x + 3, 0, 6) / 6,
    "hardswish": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "hardtanh": lambda x: np.clip(x, -1, 1),
    "logsigmoid": lambda x: -np.logaddexp(0, -x),
    "mish": lambda x: x * np.tanh(np.logaddexp(0, x)),
    "quick_gelu": lambda x: x * _sigmoid(1.702 * x),
    "relu6": lambda x: np.clip(x, 0, 6),
    "sigmoid": _sigmoid,
    "silu": lambda x: x * _sigmoid(x),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "tanh": np.tanh,
    "tanhshrink": lambda x: x - np.tanh(x),
}

PARAMETRIC: dict[str, Callable[..., Any]] = {"celu": celu, "softplus": softplus}


def _cos(x: Any, omega: float = 1.0) -> Any:
    return np.cos(omega * x)


def _sin(x: Any, omega: float = 1.0) -> Any:
    return np.sin(omega * x)


def _prelu(x: Any, slope: float = 0.25) -> Any:
    return leaky_relu(x, slope)


def _relu(x: Any) -> Any:
    return np.maximum(x, 0)


def _linear(x: Any) -> Any:
    return x


def _gelu(x: Any) -> Any:
    return x * (1 + _erf(x / sqrt(2))) / 2


def _relu_squared(x: Any) -> Any:
    return _relu(x) ** 2


def _selu(x: Any) -> Any:
    return SELU_SCALE * elu(x, SELU_ALPHA)


CLOSED: dict[str, Callable[..., Any]] = {
    "abs": np.abs,
    "cos": _cos,
    "elu": elu,
    "erf": _erf,
    "gelu": _gelu,
    "leaky_relu": leaky_relu,
    "linear": _linear,
    "prelu": _prelu,
    "relu": _relu,
    "relu_squared": _relu_squared,
    "selu": _selu,
    "sin": _sin,
}
"""Those whose gain is known in closed form, for scales at which it is not."""
