"""Fully connected networks of any widths."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from math import prod

from torch import nn

from fanin.errors import ArgumentError
from fanin.models.activations import Activation, activation_module
from fanin.models.norms import FLAT, Norm, norm_factory
from fanin.models.sizes import check_dropout, check_positive, check_sizes

_SHAPE, _CLASSES, _WIDTH, _DEPTH = (1, 28, 28), 10, 128, 3


def mlp(
    widths: Sequence[int] | None = None,
    activation: Activation = "relu",
    *,
    bias: bool = True,
    norm: Norm = None,
    dropout: float = 0.0,
    depth: int | None = None,
    width: int | None = None,
    shape: tuple[int, ...] | None = None,
    classes: int | None = None,
) -> nn.Sequential:
    """A fully connected network: `flatten`, then `fc1`, `norm1`, `act1`, `drop1`, …, `fcL`; nothing after the last.

        h₀ = flatten(x),   h_l = dropout(act(norm(W_l h_{l−1} + b_l))),   y = W_L h_{L−1} + b_L

    Its sizes are said by `widths`; or, for deep networks, by `depth` and `width` with the ends from `widths` (two of
    them) or from `shape` and `classes`.

    Args:
        widths: features of the input, of each hidden layer and of the output, as (784, 500, 10).
        activation: a name, a function on tensors, a module or a module factory.
        bias: whether the dense layers have biases.
        norm: "batch", "layer", "rms", a factory from a width to a module, or None.
        dropout: probability of each hidden feature to be dropped in training.
        depth: number of dense layers; 3 where neither it nor hidden widths are given.
        width: features of every hidden layer; 128 where neither it nor hidden widths are given.
        shape: of one sample; (1, 28, 28) where no widths are given.
        classes: features of the output; 10 where no widths are given.

    Returns:
        a model from [n, *] with ∏* = widths[0] to [n, widths[-1]].

    Raises:
        ArgumentError: fewer than two widths, one that is not a positive integer, sizes that contradict each other.
        UnknownNameError: no activation or normalisation of that name.

    >>> [name for name, _ in mlp([784, 500, 10]).named_parameters()]
    ['fc1.weight', 'fc1.bias', 'fc2.weight', 'fc2.bias']
    >>> mlp([784, 10], depth=100, width=32).fc100
    Linear(in_features=32, out_features=10, bias=True)
    """
    all_widths = _all_widths(widths, depth, width, shape, classes)
    check_dropout("mlp", dropout)
    make_norm = norm_factory(norm, FLAT)
    layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    last = len(all_widths) - 1
    for index, (fan_in, fan_out) in enumerate(pairwise(all_widths), start=1):
        layers[f"fc{index}"] = nn.Linear(fan_in, fan_out, bias=bias)
        if index == last:
            break
        if make_norm is not None:
            layers[f"norm{index}"] = make_norm(fan_out)
        layers[f"act{index}"] = activation_module(activation)
        if dropout:
            layers[f"drop{index}"] = nn.Dropout(dropout)
    return nn.Sequential(layers)


def _all_widths(
    widths: Sequence[int] | None,
    depth: int | None,
    width: int | None,
    shape: tuple[int, ...] | None,
    classes: int | None,
) -> Sequence[int]:
    if shape is not None:
        check_sizes("mlp shape", shape, at_least=1)
    if widths is None:
        ends = (prod(shape or _SHAPE), _CLASSES if classes is None else classes)
        check_positive("mlp", classes=ends[-1])
        return _hidden(ends, _DEPTH if depth is None else depth, _WIDTH if width is None else width)
    check_sizes("mlp widths", widths, at_least=2)
    if shape is not None and prod(shape) != widths[0]:
        features = f"{prod(shape)} features ({'×'.join(map(str, shape))})"
        raise ArgumentError(f"mlp: a sample has {features}, but the first of the widths is {widths[0]}")
    if classes not in (None, widths[-1]):
        raise ArgumentError(f"mlp: there are {classes} classes, but the last of the widths is {widths[-1]}")
    if depth is None and width is None:
        return widths
    if len(widths) > 2:
        raise ArgumentError(
            f"mlp: depth and width fill in between two widths, as 784-10, and there are {len(widths)} of them"
        )
    return _hidden(widths, _DEPTH if depth is None else depth, _WIDTH if width is None else width)


def _hidden(ends: Sequence[int], depth: int, width: int) -> tuple[int, ...]:
    check_positive("mlp", depth=depth, width=width)
    return (ends[0], *(width,) * (depth - 1), ends[-1])
