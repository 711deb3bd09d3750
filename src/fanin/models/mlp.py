"""Fully connected networks of any widths."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from fanin.errors import ArgumentError
from fanin.models.activations import Activation, activation_module
from fanin.models.norms import FLAT, Norm, norm_factory


def mlp(
    widths: Sequence[int], activation: Activation = "relu", *, bias: bool = True, norm: Norm = None
) -> nn.Sequential:
    """A fully connected network: `flatten`, then `fc1`, `norm1`, `act1`, …, `fcL`; no activation after the last.

        h₀ = flatten(x),   h_l = act(norm(W_l h_{l−1} + b_l)),   y = W_L h_{L−1} + b_L

    Args:
        widths: features of the input, of each hidden layer and of the output, as (784, 500, 10).
        activation: a name, a function on tensors, a module or a module factory.
        bias: whether the dense layers have biases.
        norm: "batch", "layer", "rms", a factory from a width to a module, or None.

    Returns:
        a model from [n, *] with ∏* = widths[0] to [n, widths[-1]].

    Raises:
        ArgumentError: fewer than two widths, or one that is not a positive integer.
        UnknownNameError: no activation or normalisation of that name.

    >>> [name for name, _ in mlp([784, 500, 10]).named_parameters()]
    ['fc1.weight', 'fc1.bias', 'fc2.weight', 'fc2.bias']
    """
    check_sizes("mlp widths", widths, at_least=2)
    make_norm = norm_factory(norm, FLAT)
    layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    last = len(widths) - 1
    for index, (fan_in, fan_out) in enumerate(pairwise(widths), start=1):
        layers[f"fc{index}"] = nn.Linear(fan_in, fan_out, bias=bias)
        if index == last:
            break
        if make_norm is not None:
            layers[f"norm{index}"] = make_norm(fan_out)
        layers[f"act{index}"] = activation_module(activation)
    return nn.Sequential(layers)


def check_sizes(what: str, sizes: Sequence[int], at_least: int) -> None:
    """Raise unless `sizes` are at least so many positive integers."""
    if len(sizes) < at_least or any(type(size) is not int or size < 1 for size in sizes):
        raise ArgumentError(f"{what} must be at least {at_least} positive integers, got {tuple(sizes)}")
