"""Deep convolutional generative adversarial networks."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from fanin.errors import ArgumentError
from fanin.models.activations import Activation, activation_module
from fanin.models.layers.images import AsImages
from fanin.models.norms import IMAGE, Norm, norm_factory
from fanin.models.sample import Sample
from fanin.models.sizes import check_image, check_positive

_Norm = Callable[[int], nn.Module] | None
_SMALLEST, _LARGEST = 4, 7  # side of the image that the generator starts from


class DCGAN(nn.Module):
    """A generator of images and a discriminator that tells them from real ones.

    Attributes:
        generator: from noise [n, latent] to images [n, C, H, W] in (−1, 1).
        discriminator: from images to logits [n]: how real each looks. Loss: binary cross-entropy with logits.
        latent: numbers that make one image.
    """

    def __init__(self, generator: nn.Sequential, discriminator: nn.Sequential, latent: int) -> None:
        super().__init__()
        self.generator, self.discriminator = generator, discriminator
        self.latent = latent
        self.sample = Sample((latent,), range=(-1.0, 1.0))

    def forward(self, noise: torch.Tensor) -> torch.Tensor:
        """How real the generator's images of this noise look to the discriminator."""
        return self.discriminator(self.generator(noise))


def dcgan(
    *,
    shape: tuple[int, ...] = (3, 64, 64),
    latent: int = 100,
    width: int = 64,
    activation: Activation = "relu",
    norm: Norm = "batch",
    slope: float = 0.2,
) -> DCGAN:
    """A generator and a discriminator of transposed and strided 4×4 convolutions, in one module.

        generator:      z → image of 4×4 (or 5×5 … 7×7) → twice the side, half the channels, … → tanh
        discriminator:  image → half the side, twice the channels, … → one logit

    Every convolution but the discriminator's first and each network's last has a norm behind it; activations are
    `activation` in the generator and LeakyReLU in the discriminator. With `width=128` and 64×64 it has the 1024, 512,
    256 and 128 channels of the paper, with 64 those of PyTorch's example.

    Args:
        shape: (channels, height, width) of an image; sides that halving brings to 4 … 7: 28, 32, 64, 96, 128.
        latent: numbers that make one image.
        width: channels of the largest images; each halving of the side doubles them.
        activation: of the generator: a name, a function on tensors, a module or a module factory.
        norm: "batch", "instance", "layer", a factory from a channel count to a module, or None.
        slope: of the discriminator's LeakyReLU below 0.

    Returns:
        a `DCGAN` with `.generator` and `.discriminator`; called on noise [n, latent] it puts one after the other.

    Raises:
        ArgumentError: a size that is not a positive integer, or an image that halving does not bring to such a side.
        UnknownNameError: no activation or normalisation of that name.

    Source: Radford, Metz & Chintala 2015, arXiv 1511.06434; pytorch/examples, dcgan/main.py.

    >>> model = dcgan()
    >>> [sum(p.numel() for p in part.parameters()) for part in (model.generator, model.discriminator)]
    [3576704, 2765568]
    """
    check_positive("dcgan", latent=latent, width=width)
    image = check_image("dcgan", shape)
    plan = _Plan(image, latent, width, _halvings(image))
    make_norm = norm_factory(norm, IMAGE)
    return DCGAN(plan.generator(make_norm, activation), plan.discriminator(make_norm, slope), latent)


def _halvings(image: tuple[int, int, int]) -> int:
    sides, count = image[1:], 0
    while min(sides) > _LARGEST and not any(side % 2 for side in sides):
        sides, count = (sides[0] // 2, sides[1] // 2), count + 1
    if not count or not all(_SMALLEST <= side <= _LARGEST for side in sides):
        raise ArgumentError(
            f"dcgan: halving does not bring an image of {image[1]}×{image[2]} to sides of {_SMALLEST} to {_LARGEST}: "
            "sides such as 28, 32, 64, 96 and 128 do"
        )
    return count


@dataclass(frozen=True, slots=True)
class _Plan:
    """The sizes that both networks have in common."""

    image: tuple[int, int, int]
    latent: int
    width: int
    halvings: int

    @property
    def channels(self) -> list[int]:
        """From the largest image to the smallest."""
        return [self.width * 2**index for index in range(self.halvings)]

    @property
    def smallest(self) -> tuple[int, int]:
        return self.image[1] >> self.halvings, self.image[2] >> self.halvings

    def generator(self, norm: _Norm, activation: Activation) -> nn.Sequential:
        widths = self.channels[::-1]
        layers = OrderedDict[str, nn.Module](
            points=AsImages((self.latent, 1, 1)), deconv1=_up(self.latent, widths[0], self.smallest)
        )
        for index, (fan_in, fan_out) in enumerate(zip(widths, (*widths[1:], self.image[0]), strict=True), start=1):
            if norm is not None:
                layers[f"norm{index}"] = norm(fan_in)
            layers[f"act{index}"] = activation_module(activation)
            layers[f"deconv{index + 1}"] = _up(fan_in, fan_out)
        layers["tanh"] = nn.Tanh()
        return nn.Sequential(layers)

    def discriminator(self, norm: _Norm, slope: float) -> nn.Sequential:
        widths = self.channels
        layers = OrderedDict[str, nn.Module](images=AsImages(self.image))
        for index, (fan_in, fan_out) in enumerate(zip((self.image[0], *widths[:-1]), widths, strict=True), start=1):
            layers[f"conv{index}"] = nn.Conv2d(fan_in, fan_out, 4, 2, padding=1, bias=False)
            if norm is not None and index > 1:
                layers[f"norm{index}"] = norm(fan_out)
            layers[f"act{index}"] = nn.LeakyReLU(slope)
        layers[f"conv{len(widths) + 1}"] = nn.Conv2d(widths[-1], 1, self.smallest, bias=False)
        layers["flatten"] = nn.Flatten(0)
        return nn.Sequential(layers)


def _up(fan_in: int, fan_out: int, sides: tuple[int, int] | None = None) -> nn.ConvTranspose2d:
    """Twice the side of an image; or, of a single point, an image of these sides."""
    if sides is not None:
        return nn.ConvTranspose2d(fan_in, fan_out, sides, bias=False)
    return nn.ConvTranspose2d(fan_in, fan_out, 4, 2, padding=1, bias=False)
