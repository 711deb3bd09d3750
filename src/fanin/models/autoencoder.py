"""Dense and convolutional autoencoders of images."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod

import torch
from torch import nn

from fanin.errors import ArgumentError
from fanin.models.activations import Activation, activation_module
from fanin.models.layers.images import AsImages
from fanin.models.norms import FLAT, IMAGE, Norm, norm_factory
from fanin.models.sample import Sample
from fanin.models.sizes import check_dropout, check_image, check_sizes


class Autoencoder(nn.Module):
    """An encoder from images to codes, and a decoder back.

    Attributes:
        encoder: from [n, *shape] or [n, ∏shape] to codes.
        decoder: from codes to [n, *shape].
    """

    def __init__(self, encoder: nn.Sequential, decoder: nn.Sequential, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.sample = Sample(shape)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """The images after they went through their codes."""
        return self.decoder(self.encoder(input))


def autoencoder(
    widths: Sequence[int] = (1000, 500, 250, 30),
    *,
    shape: tuple[int, ...] = (1, 28, 28),
    channels: Sequence[int] = (),
    activation: Activation = "relu",
    output: Activation = "identity",
    bias: bool = True,
    norm: Norm = None,
    dropout: float = 0.0,
) -> Autoencoder:
    """An autoencoder: convolutions of stride 2, if there are `channels`, then dense layers, and all of it mirrored.

        code = encoder(x),   y = output(decoder(code))

    After every layer but the code and the output come norm and activation. The default has the widths of Hinton's deep
    autoencoder, 784-1000-500-250-30 and back; his units are sigmoid (`activation=sigmoid,output=sigmoid`).

    Args:
        widths: features of each dense layer of the encoder; the last is the code's.
        shape: (channels, height, width) of one image.
        channels: of each 3×3 convolution of stride 2 before the dense layers; each halves the sides, which must be
            even; the decoder has transposed 4×4 ones.
        activation: a name, a function on tensors, a module or a module factory.
        output: the activation after the last layer: "identity", or "sigmoid" for pixels in [0, 1].
        bias: whether layers have biases.
        norm: "batch", "layer", a factory from a width to a module, or None.
        dropout: probability of each pixel to be dropped in training, as in a denoising autoencoder.

    Returns:
        an `Autoencoder` from [n, *shape] or [n, ∏shape] to [n, *shape]. Loss: mean squared error to its input.

    Raises:
        ArgumentError: a size that is not a positive integer, or an odd side to be halved.
        UnknownNameError: no activation or normalisation of that name.

    Source: Hinton & Salakhutdinov 2006, Science 313; denoising: Vincent et al. 2008, ICML.

    >>> sum(p.numel() for p in autoencoder().parameters())
    2837314
    """
    image = check_image("autoencoder", shape)
    check_sizes("autoencoder widths", widths, at_least=1)
    check_sizes("autoencoder channels", channels, at_least=0)
    check_dropout("autoencoder", dropout)
    smallest = _smallest(image, channels)
    images = (image[0], *channels)
    features = (prod(smallest), *widths)
    style = _Style(activation, norm_factory(norm, FLAT), norm_factory(norm, IMAGE), bias)
    encoder = _encoder(images, features, style)
    head: dict[str, nn.Module] = {"images": AsImages(image)}
    if dropout:
        head["drop"] = nn.Dropout(dropout)
    decoder = _decoder(features[::-1], smallest, images[::-1], style) | {"output": activation_module(output)}
    return Autoencoder(_sequential(head | encoder), _sequential(decoder), image)


@dataclass(frozen=True, slots=True)
class _Style:
    """What all layers have in common; norms are of vectors and of images."""

    activation: Activation
    flat: Callable[[int], nn.Module] | None
    spatial: Callable[[int], nn.Module] | None
    bias: bool

    def rest(self, index: int, width: int, norm: Callable[[int], nn.Module] | None) -> dict[str, nn.Module]:
        """What follows layer `index`."""
        normed = {} if norm is None else {f"norm{index}": norm(width)}
        return {**normed, f"act{index}": activation_module(self.activation)}


def _encoder(images: Sequence[int], features: Sequence[int], style: _Style) -> dict[str, nn.Module]:
    layers: dict[str, nn.Module] = {}
    for index, (fan_in, fan_out) in enumerate(pairwise(images), start=1):
        layers[f"conv{index}"] = nn.Conv2d(fan_in, fan_out, 3, 2, padding=1, bias=style.bias)
        layers |= style.rest(index, fan_out, style.spatial)
    layers["flatten"] = nn.Flatten()
    code = len(images) + len(features) - 2
    for index, (fan_in, fan_out) in enumerate(pairwise(features), start=len(images)):
        layers[f"fc{index}"] = nn.Linear(fan_in, fan_out, bias=style.bias)
        layers |= {} if index == code else style.rest(index, fan_out, style.flat)
    return layers


def _decoder(
    features: Sequence[int], smallest: tuple[int, int, int], images: Sequence[int], style: _Style
) -> dict[str, nn.Module]:
    layers: dict[str, nn.Module] = {}
    dense = len(features) - 1
    for index, (fan_in, fan_out) in enumerate(pairwise(features), start=1):
        layers[f"fc{index}"] = nn.Linear(fan_in, fan_out, bias=style.bias)
        layers |= {} if index == dense else style.rest(index, fan_out, style.flat)
    layers["images"] = AsImages(smallest)
    last = dense + len(images) - 1
    layers |= {} if last == dense else style.rest(dense, images[0], style.spatial)
    for index, (fan_in, fan_out) in enumerate(pairwise(images), start=dense + 1):
        layers[f"deconv{index}"] = nn.ConvTranspose2d(fan_in, fan_out, 4, 2, padding=1, bias=style.bias)
        layers |= {} if index == last else style.rest(index, fan_out, style.spatial)
    return layers


def _sequential(layers: dict[str, nn.Module]) -> nn.Sequential:
    return nn.Sequential(OrderedDict(layers))


def _smallest(image: tuple[int, int, int], channels: Sequence[int]) -> tuple[int, int, int]:
    """The shape after the convolutions."""
    height, width = image[1:]
    for count in range(1, len(channels) + 1):
        if height % 2 or width % 2:
            raise ArgumentError(
                f"autoencoder: convolution {count} of {len(channels)} would halve an image of {height}×{width}, and "
                "a side is odd: give fewer channels"
            )
        height, width = height // 2, width // 2
    return (channels or image[:1])[-1], height, width
