"""Residual networks: CIFAR's and ImageNet's of He et al., with and without normalisation."""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal, TypeVar, get_args

from torch import nn

from fanin.errors import ArgumentError
from fanin.models.activations import Activation, activation_module
from fanin.models.layers.images import AsImages
from fanin.models.layers.scalars import ScalarBias
from fanin.models.norms import IMAGE, Norm, norm_factory
from fanin.models.residual_blocks import EXPANSION, BlockKind, ResidualBlock, Shortcut, Style
from fanin.models.sizes import check_choice, check_dropout, check_image, check_positive

Stem = Literal["small", "large"]
Size = TypeVar("Size")

IMAGENET: dict[int, tuple[BlockKind, tuple[int, ...]]] = {
    18: ("basic", (2, 2, 2, 2)),
    34: ("basic", (3, 4, 6, 3)),
    50: ("bottleneck", (3, 4, 6, 3)),
    101: ("bottleneck", (3, 4, 23, 3)),
    152: ("bottleneck", (3, 8, 36, 3)),
}
"""Depths of the networks of four stages, with their blocks in each."""
_LAYERS: dict[BlockKind, int] = {"basic": 2, "bottleneck": 3}
_LARGE_SIDE = 64


def resnet(
    depth: int = 20,
    *,
    shape: tuple[int, ...] | None = None,
    classes: int | None = None,
    activation: Activation = "relu",
    norm: Norm = "batch",
    bias: bool | None = None,
    dropout: float = 0.0,
    width: int | None = None,
    fixup: bool = False,
    block: BlockKind | None = None,
    stages: int | None = None,
    stem: Stem | None = None,
    shortcut: Shortcut | None = None,
) -> nn.Sequential:
    """A residual network: stem, stages of blocks y = act(x + branch(x)), global average, dense layer `fc`.

    Depths 18, 34, 50, 101 and 152 are ImageNet's networks: four stages of 64, 128, 256 and 512 channels, a convolution
    on each shortcut that changes the shape, tensors named as in torchvision. Depths 6n + 2 (20, 32, 44, 56, 110; with
    bottlenecks 9n + 2) are CIFAR's: three stages of 16, 32 and 64 channels, shortcuts without parameters.

    Args:
        depth: number of layers with weights on the way through the branches.
        shape: (channels, height, width) of one sample; (3, 32, 32), and (3, 224, 224) with four stages.
        classes: width of the output; 10, and 1000 with four stages.
        activation: a name, a function on tensors, a module or a module factory.
        norm: "batch", "instance", "layer", a factory from a channel count to a module, or None.
        bias: whether convolutions have biases; where not given, if there is no norm to have them, and no Fixup.
        dropout: probability of each feature before the dense layer to be dropped in training.
        width: channels of the first stage, which each further stage doubles; 16, and 64 with four stages.
        fixup: whether Fixup's scalar biases and scales stand around the convolutions; for norm None.
        block: "basic" or "bottleneck", where the depth does not say it.
        stages: 3 or 4, where the depth does not say it: 50 and 152 are 6n + 2 too.
        stem: "large": 7×7 of stride 2 and max-pooling; "small": 3×3; where not given, large for four stages and sides
            of 64 or more.
        shortcut: "projection": a 1×1 convolution where the shape changes; "pad": zeros for new channels; where not
            given, projection with four stages.

    Returns:
        a model from [n, *shape] or [n, ∏shape] to [n, classes].

    Raises:
        ArgumentError: a depth that there is not, a size that is not a positive integer, Fixup beside a norm.
        UnknownNameError: no activation or normalisation of that name.

    Source: He et al. 2015, arXiv 1512.03385; Fixup: Zhang, Dauphin & Ma 2019, arXiv 1901.09321.

    >>> sum(p.numel() for p in resnet(18, shape=(3, 224, 224), classes=1000).parameters())
    11689512
    >>> sum(p.numel() for p in resnet(56).parameters())
    853018
    """
    kind, blocks = _blocks(depth, block, stages)
    four = len(blocks) == 4
    image = check_image("resnet", _or(shape, (3, 224, 224) if four else (3, 32, 32)))
    first, outputs = _or(width, 64 if four else 16), _or(classes, 1000 if four else 10)
    check_positive("resnet", width=first, classes=outputs)
    check_dropout("resnet", dropout)
    if fixup and norm is not None:
        raise ArgumentError("resnet: Fixup stands in place of normalisation, so it needs norm None (norm=none)")
    size = stem or ("large" if four and min(image[1:]) >= _LARGE_SIDE else "small")
    check_choice("resnet", "stem", size, get_args(Stem))
    around = shortcut or ("projection" if four else "pad")
    check_choice("resnet", "shortcut", around, get_args(Shortcut))
    biased = (norm is None and not fixup) if bias is None else bias
    style = Style(kind, norm_factory(norm, IMAGE), activation, biased, fixup, around)
    layers = OrderedDict[str, nn.Module](images=AsImages(image), **_stem(image[0], first, size, style))
    fan_in = first
    for stage, count in enumerate(blocks):
        channels = first * 2**stage
        layers[f"layer{stage + 1}"] = _stage(fan_in, channels, count, 1 if stage == 0 else 2, style)
        fan_in = channels * EXPANSION[kind]
    layers |= {"avgpool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten()}
    if fixup:
        layers["bias2"] = ScalarBias()
    if dropout:
        layers["drop"] = nn.Dropout(dropout)
    layers["fc"] = nn.Linear(fan_in, outputs)
    return nn.Sequential(layers)


def _or(given: Size | None, default: Size) -> Size:
    return default if given is None else given


def _stem(channels: int, width: int, size: Stem, style: Style) -> dict[str, nn.Module]:
    layers: dict[str, nn.Module] = {
        "conv1": style.convolution(channels, width, *((7, 2) if size == "large" else (3, 1)))
    }
    if style.norm is not None:
        layers["bn1"] = style.norm(width)
    if style.fixup:
        layers["bias1"] = ScalarBias()
    layers["act"] = activation_module(style.activation)
    if size == "large":
        layers["maxpool"] = nn.MaxPool2d(3, 2, padding=1)
    return layers


def _stage(fan_in: int, width: int, count: int, stride: int, style: Style) -> nn.Sequential:
    inner = width * EXPANSION[style.kind]
    first = ResidualBlock(fan_in, width, stride, style)
    return nn.Sequential(first, *(ResidualBlock(inner, width, 1, style) for _ in range(count - 1)))


def _blocks(depth: int, block: BlockKind | None, stages: int | None) -> tuple[BlockKind, tuple[int, ...]]:
    """The kind of the blocks, and how many each stage has."""
    check_positive("resnet", depth=depth)
    if block is not None:
        check_choice("resnet", "block", block, get_args(BlockKind))
    if stages not in (None, 3, 4):
        raise ArgumentError(f"resnet: stages is 3 or 4, got {stages!r}")
    if stages != 3 and depth in IMAGENET and block in (None, IMAGENET[depth][0]):
        return IMAGENET[depth]
    for kind in ("basic", "bottleneck") if block is None else (block,):
        count, rest = divmod(depth - 2, 3 * _LAYERS[kind])
        if stages != 4 and count > 0 and not rest:
            return kind, (count,) * 3
    asked = "".join(f", {name} {value}" for name, value in (("block", block), ("stages", stages)) if value is not None)
    raise ArgumentError(
        f"resnet: there is none of depth {depth}{asked}: with basic blocks depths are 6n + 2 (20, 32, 44, 56, 110), "
        f"with bottlenecks 9n + 2 (29, 47, 164), and with four stages {', '.join(map(str, IMAGENET))}"
    )
