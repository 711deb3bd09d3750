"""The two blocks of residual networks."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from fanin.models.activations import Activation, activation_module
from fanin.models.layers.scalars import ScalarBias, ScalarScale
from fanin.models.layers.shortcuts import PaddedShortcut

Shortcut = Literal["projection", "pad"]
BlockKind = Literal["basic", "bottleneck"]
EXPANSION: dict[BlockKind, int] = {"basic": 1, "bottleneck": 4}
"""Channels that a block puts out, over those of its 3×3 convolution."""


@dataclass(frozen=True, slots=True)
class Style:
    """What all blocks of a network have in common.

    Attributes:
        kind: "basic": 3×3, 3×3; "bottleneck": 1×1, 3×3, 1×1.
        norm: from a channel count to a module; None for none.
        activation: a name, a function, a module or a module factory.
        bias: whether convolutions have biases.
        fixup: whether scalar biases and a scale stand around the convolutions, as in Fixup.
        shortcut: "projection": a 1×1 convolution where the shape changes; "pad": zeros for new channels.
    """

    kind: BlockKind
    norm: Callable[[int], nn.Module] | None
    activation: Activation
    bias: bool
    fixup: bool
    shortcut: Shortcut

    def convolution(self, fan_in: int, fan_out: int, kernel: int, stride: int = 1) -> nn.Conv2d:
        """A convolution that shrinks an image by its stride alone."""
        return nn.Conv2d(fan_in, fan_out, kernel, stride, padding=kernel // 2, bias=self.bias)

    def downsample(self, fan_in: int, fan_out: int, stride: int) -> nn.Module | None:
        """The shortcut of a block that changes the shape; None where it does not."""
        if stride == 1 and fan_in == fan_out:
            return None
        if self.shortcut == "pad":
            return PaddedShortcut(stride, fan_out - fan_in)
        convolution = self.convolution(fan_in, fan_out, 1, stride)
        return nn.Sequential(convolution) if self.norm is None else nn.Sequential(convolution, self.norm(fan_out))


class ResidualBlock(nn.Module):
    """y = act(shortcut(x) + branch(x)) with the branch conv1, bn1, act1, conv2, bn2 (, act2, conv3, bn3).

    With Fixup, the branch is bias1a, conv1, bias1b, act1, bias2a, conv2, …, scale, bias, and a convolution on the
    shortcut reads x + bias1a.

    Args:
        fan_in: channels of the input.
        width: channels of the 3×3 convolutions; a bottleneck puts out 4·width.
        stride: of the first 3×3 convolution.
        style: what all blocks have in common.

    Source: He et al. 2015, arXiv 1512.03385, figure 5, a bottleneck's stride on its 3×3 convolution and the names of
    stored tensors as in torchvision; Fixup: Zhang, Dauphin & Ma 2019, arXiv 1901.09321, figure 1.
    """

    def __init__(self, fan_in: int, width: int, stride: int, style: Style) -> None:
        super().__init__()
        branch = _branch(fan_in, width, stride, style)
        for name, layer in branch.items():
            self.add_module(name, layer)
        self.branch = tuple(branch)
        self.downsample = style.downsample(fan_in, width * EXPANSION[style.kind], stride)
        self.biased_shortcut = style.fixup and style.shortcut == "projection"
        self.act = activation_module(style.activation)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        first, *others = (self.get_submodule(name) for name in self.branch)
        carried = first(input)
        shortcut = carried if self.biased_shortcut else input
        for layer in others:
            carried = layer(carried)
        return self.act(carried + (input if self.downsample is None else self.downsample(shortcut)))


def _branch(fan_in: int, width: int, stride: int, style: Style) -> OrderedDict[str, nn.Module]:
    if style.kind == "basic":
        convolutions = ((fan_in, width, 3, stride), (width, width, 3, 1))
    else:
        convolutions = ((fan_in, width, 1, 1), (width, width, 3, stride), (width, EXPANSION[style.kind] * width, 1, 1))
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for index, sizes in enumerate(convolutions, start=1):
        if style.fixup:
            layers[f"bias{index}a"] = ScalarBias()
        layers[f"conv{index}"] = style.convolution(*sizes)
        if style.norm is not None:
            layers[f"bn{index}"] = style.norm(sizes[1])
        if index == len(convolutions):
            break
        if style.fixup:
            layers[f"bias{index}b"] = ScalarBias()
        layers[f"act{index}"] = activation_module(style.activation)
    if style.fixup:
        layers.update(scale=ScalarScale(), bias=ScalarBias())
    return layers
