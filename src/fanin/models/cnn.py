"""Convolutional classifiers of any widths."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from math import prod

import torch
from torch import nn

from fanin.errors import ArgumentError
from fanin.models.activations import Activation, activation_module
from fanin.models.mlp import check_sizes
from fanin.models.norms import IMAGE, Norm, norm_factory


class AsImages(nn.Module):
    """Samples as images [n, *shape], whether they come so or flat [n, ∏shape]."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return input.reshape(input.shape[0], *self.shape)

    def extra_repr(self) -> str:
        return f"shape={self.shape}"


def cnn(
    shape: tuple[int, ...],
    channels: Sequence[int],
    classes: int,
    activation: Activation = "relu",
    *,
    kernel: int = 3,
    pool: int = 2,
    bias: bool = True,
    norm: Norm = None,
) -> nn.Sequential:
    """A convolutional classifier: for each of `channels` one block `conv`, `norm`, `act`, `pool`; then `dense`.

        h_l = maxpool(act(norm(conv(h_{l−1}; W_l, b_l)))),   y = W·flatten(h_L) + b

    Convolutions have stride 1 and padding (kernel − 1)/2, so only pooling shrinks the image: side → ⌊side/pool⌋.

    Args:
        shape: (channels, height, width) of one sample.
        channels: output channels of each convolution.
        classes: width of the output.
        activation: a name, a function on tensors, a module or a module factory.
        kernel: side of the convolution's window, odd.
        pool: side and stride of the max-pooling window; 1 leaves pooling out.
        bias: whether convolutions and the dense layer have biases.
        norm: "batch", "instance", "layer", a factory from a channel count to a module, or None.

    Returns:
        a model from [n, *shape] or [n, ∏shape] to [n, classes]; `dense` reads the last image in order C, H, W.

    Raises:
        ArgumentError: a size that is not a positive integer, an even kernel, or an image pooled away to nothing.
        UnknownNameError: no activation or normalisation of that name.

    >>> [name for name, _ in cnn((1, 28, 28), [8, 16], 10).named_parameters()][::2]
    ['conv1.weight', 'conv2.weight', 'dense.weight']
    """
    check_sizes("cnn classes, kernel and pool", (classes, kernel, pool), at_least=3)
    if kernel % 2 == 0:
        raise ArgumentError(f"cnn needs an odd kernel, got {kernel}")
    last = _last_shape(shape, channels, pool)
    make_norm = norm_factory(norm, IMAGE)
    layers: OrderedDict[str, nn.Module] = OrderedDict(images=AsImages(shape))
    for index, (fan_in, fan_out) in enumerate(zip((shape[0], *channels[:-1]), channels, strict=True), start=1):
        layers[f"conv{index}"] = nn.Conv2d(fan_in, fan_out, kernel, padding=kernel // 2, bias=bias)
        if make_norm is not None:
            layers[f"norm{index}"] = make_norm(fan_out)
        layers[f"act{index}"] = activation_module(activation)
        if pool > 1:
            layers[f"pool{index}"] = nn.MaxPool2d(pool)
    layers["flatten"] = nn.Flatten()
    layers["dense"] = nn.Linear(prod(last), classes, bias=bias)
    return nn.Sequential(layers)


def _last_shape(shape: tuple[int, ...], channels: Sequence[int], pool: int) -> tuple[int, int, int]:
    """(channels, height, width) after the last block."""
    check_sizes("cnn shape", shape, at_least=3)
    check_sizes("cnn channels", channels, at_least=1)
    if len(shape) != 3:
        raise ArgumentError(f"cnn needs a shape (channels, height, width), got {shape}")
    height, width = (side // pool ** len(channels) for side in shape[1:])
    if not height or not width:
        raise ArgumentError(f"cnn: pooling by {pool} after each of {len(channels)} blocks leaves nothing of {shape}")
    return channels[-1], height, width
