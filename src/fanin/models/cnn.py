"""Plain convolutional classifiers of any widths and depth."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

from torch import nn

from fanin.errors import ArgumentError
from fanin.models.activations import Activation, activation_module
from fanin.models.layers.images import AsImages
from fanin.models.norms import IMAGE, Norm, norm_factory
from fanin.models.sizes import check_choice, check_dropout, check_image, check_positive, check_sizes

_CHANNELS = (16, 32)
_DEPTH, _WIDTH = 8, 32


def cnn(
    shape: tuple[int, ...] = (1, 28, 28),
    channels: Sequence[int] | None = None,
    classes: int = 10,
    activation: Activation = "relu",
    *,
    kernel: int = 3,
    pool: int = 2,
    bias: bool = True,
    norm: Norm = None,
    dropout: float = 0.0,
    depth: int | None = None,
    width: int | None = None,
    pool_after: Sequence[int] | None = None,
    stride_at: Sequence[int] = (),
    head: Literal["flatten", "average"] = "flatten",
    padding: Literal["zeros", "circular"] = "zeros",
) -> nn.Sequential:
    """A convolutional classifier: for each of `channels` one block `conv`, `norm`, `act`, `pool`; then `dense`.

        h_l = maxpool(act(norm(conv(h_{l−1}; W_l, b_l)))),   y = W·dropout(flatten(h_L)) + b

    Convolutions are padded by (kernel − 1)/2, so that pooling shrinks the image, side → ⌊side/pool⌋, and convolutions
    of stride 2 do, side → ⌈side/2⌉.

    Deep plain networks are said by `depth` and `width` in place of `channels`; they pool nowhere but where
    `pool_after` says. `depth=100,width=32,stride_at=1-2,padding=circular` is such a network as Xiao et al. 2018, arXiv
    1806.05393, train without normalisation or shortcuts.

    Args:
        shape: (channels, height, width) of one sample.
        channels: output channels of each convolution; 16 and 32 where neither they nor depth nor width are given.
        classes: width of the output.
        activation: a name, a function on tensors, a module or a module factory.
        kernel: side of the convolution's window, odd.
        pool: side and stride of the max-pooling window; 1 leaves pooling out.
        bias: whether convolutions and the dense layer have biases.
        norm: "batch", "instance", "layer", a factory from a channel count to a module, or None.
        dropout: probability of each feature before the dense layer to be dropped in training.
        depth: number of layers with weights: convolutions and the dense one.
        width: output channels of every convolution, beside depth.
        pool_after: the convolutions, counted from 1, that pooling follows; all of them where channels are given.
        stride_at: the convolutions, counted from 1, of stride 2.
        head: what the dense layer reads: all of the last image in order C, H, W, or the average of each channel.
        padding: what stands around an image: zeros, or its opposite side.

    Returns:
        a model from [n, *shape] or [n, ∏shape] to [n, classes].

    Raises:
        ArgumentError: a size that is not a positive integer, an even kernel, a place that there is not, both channels
            and depth or width, or an image pooled away to nothing.
        UnknownNameError: no activation or normalisation of that name.

    >>> [name for name, _ in cnn((1, 28, 28), [8, 16], 10).named_parameters()][::2]
    ['conv1.weight', 'conv2.weight', 'dense.weight']
    >>> sum(isinstance(layer, nn.Conv2d) for layer in cnn(depth=100, width=8, stride_at=(1, 2)))
    99
    """
    check_sizes("cnn classes, kernel and pool", (classes, kernel, pool), at_least=3)
    if kernel % 2 == 0:
        raise ArgumentError(f"cnn needs an odd kernel, got {kernel}")
    check_dropout("cnn", dropout)
    check_choice("cnn", "head", head, ("flatten", "average"))
    check_choice("cnn", "padding", padding, ("zeros", "circular"))
    image = check_image("cnn", shape)
    widths = _widths(channels, depth, width)
    blocks = _blocks(image, widths, pool, pool_after, stride_at, everywhere=depth is None and width is None)
    make_norm = norm_factory(norm, IMAGE)
    layers: OrderedDict[str, nn.Module] = OrderedDict(images=AsImages(image))
    for index, (fan_in, block) in enumerate(zip((image[0], *widths[:-1]), blocks, strict=True), start=1):
        layers[f"conv{index}"] = nn.Conv2d(
            fan_in, block.channels, kernel, block.stride, padding=kernel // 2, bias=bias, padding_mode=padding
        )
        if make_norm is not None:
            layers[f"norm{index}"] = make_norm(block.channels)
        layers[f"act{index}"] = activation_module(activation)
        if block.pool > 1:
            layers[f"pool{index}"] = nn.MaxPool2d(block.pool)
    if head == "average":
        layers["average"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    if dropout:
        layers["drop"] = nn.Dropout(dropout)
    last = blocks[-1]
    features = last.channels if head == "average" else last.channels * prod(last.sides)
    layers["dense"] = nn.Linear(features, classes, bias=bias)
    return nn.Sequential(layers)


@dataclass(frozen=True, slots=True)
class _Block:
    """One convolution and what follows it; `sides` are those of the image that it makes."""

    channels: int
    stride: int
    pool: int
    sides: tuple[int, int]


def _widths(channels: Sequence[int] | None, depth: int | None, width: int | None) -> tuple[int, ...]:
    if depth is None and width is None:
        made = _CHANNELS if channels is None else tuple(channels)
        check_sizes("cnn channels", made, at_least=1)
        return made
    if channels is not None:
        raise ArgumentError("cnn: its convolutions are said by channels or by depth and width, not by both")
    layers, features = _DEPTH if depth is None else depth, _WIDTH if width is None else width
    check_positive("cnn", depth=layers, width=features)
    if layers < 2:
        raise ArgumentError("cnn: depth counts the convolutions and the dense layer, so it is at least 2, got 1")
    return (features,) * (layers - 1)


def _blocks(
    image: tuple[int, int, int],
    widths: Sequence[int],
    pool: int,
    pool_after: Sequence[int] | None,
    stride_at: Sequence[int],
    *,
    everywhere: bool,
) -> list[_Block]:
    places = range(1, len(widths) + 1)
    pooled = (places if everywhere else ()) if pool_after is None else pool_after
    for name, named in (("pool_after", pooled), ("stride_at", stride_at)):
        wrong = next((place for place in named if place not in places), None)
        if wrong is not None:
            raise ArgumentError(f"cnn: {name} counts convolutions from 1 to {len(widths)}, got {wrong}")
    height, width = image[1:]
    blocks: list[_Block] = []
    for place, channels in zip(places, widths, strict=True):
        stride, window = 2 if place in stride_at else 1, pool if place in pooled else 1
        height, width = (-(-side // stride) // window for side in (height, width))
        if not height or not width:
            raise ArgumentError(
                f"cnn: pooling by {pool} after convolution {place} leaves nothing of {tuple(image)}; "
                "pool after fewer of them (pool_after), or not at all (pool=1)"
            )
        blocks.append(_Block(channels, stride, window, (height, width)))
    return blocks
