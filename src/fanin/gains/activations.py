"""Formulas of the named activations that have no closed-form gain."""

from __future__ import annotations

from collections.abc import Callable
from math import pi, sqrt
from typing import Any

import numpy as np


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
