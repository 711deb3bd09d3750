"""Activations and normalisations by name, function or class, as modules."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from copy import deepcopy
from typing import cast

import torch
from torch import nn

from fanin.errors import ArgumentError, UnknownNameError

Activation = str | nn.Module | Callable[..., torch.Tensor | nn.Module]

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "celu": nn.CELU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "gelu_tanh": lambda: nn.GELU(approximate="tanh"),
    "hardsigmoid": nn.Hardsigmoid,
    "hardswish": nn.Hardswish,
    "hardtanh": nn.Hardtanh,
    "identity": nn.Identity,
    "leaky_relu": nn.LeakyReLU,
    "linear": nn.Identity,
    "mish": nn.Mish,
    "prelu": nn.PReLU,
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "selu": nn.SELU,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "softsign": nn.Softsign,
    "swish": nn.SiLU,
    "tanh": nn.Tanh,
    "tanhshrink": nn.Tanhshrink,
}


class Elementwise(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return self.function(input)

    def extra_repr(self) -> str:
        return getattr(self.function, "__name__", repr(self.function))


def activation_module(activation: Activation) -> nn.Module:
    """A fresh module for one layer's activation, so that an activation's own parameters are never shared.

    Args:
        activation: a name ("relu"), a function on tensors (`torch.sin`), a module (copied for each layer), or a factory
            that needs no argument and returns a module (`nn.PReLU`, `lambda: nn.ELU(0.5)`).

    Raises:
        UnknownNameError: no activation of that name.
        ArgumentError: none of these.

    >>> activation_module("gelu"), activation_module(torch.sin)
    (GELU(approximate='none'), Elementwise(sin))
    """
    if isinstance(activation, str):
        if activation not in ACTIVATIONS:
            raise UnknownNameError.among("activation", activation, ACTIVATIONS)
        return ACTIVATIONS[activation]()
    if isinstance(activation, nn.Module):
        return deepcopy(activation)
    if not callable(activation):
        raise ArgumentError(f"activation must be a name, a function or a module, got {activation!r}")
    if not _needs_no_argument(activation):
        return Elementwise(cast(Callable[[torch.Tensor], torch.Tensor], activation))
    made = activation()
    if not isinstance(made, nn.Module):
        raise ArgumentError(f"the activation factory {activation!r} must return a torch.nn.Module, got {made!r}")
    return made


def _needs_no_argument(function: Callable[..., object]) -> bool:
    try:
        inspect.signature(function).bind()
    except (TypeError, ValueError):  # ValueError: builtins such as torch.tanh have no signature
        return False
    return True
