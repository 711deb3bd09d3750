"""DCGAN: published sizes, shapes at every side, structure, errors."""

import pytest
import torch
from torch import nn

from fanin import ArgumentError
from fanin.models import dcgan


def count(module):
    return sum(each.numel() for each in module.parameters())


def test_counts_are_those_of_pytorchs_example():
    with torch.device("meta"):
        model = dcgan()
    assert (count(model.generator), count(model.discriminator)) == (3_576_704, 2_765_568)


def test_channels_of_the_paper():
    with torch.device("meta"):
        model = dcgan(width=128)
    ups = [each for each in model.generator if isinstance(each, nn.ConvTranspose2d)]
    downs = [each for each in model.discriminator if isinstance(each, nn.Conv2d)]
    assert [each.out_channels for each in ups] == [1024, 512, 256, 128, 3]
    assert [each.out_channels for each in downs] == [128, 256, 512, 1024, 1]


@pytest.mark.parametrize(
    ("shape", "smallest", "layers"),
    [
        ((1, 28, 28), (7, 7), 3),
        ((3, 32, 32), (4, 4), 4),
        ((3, 64, 64), (4, 4), 5),
        ((2, 96, 64), (6, 4), 5),
        ((1, 10, 14), (5, 7), 2),
        ((1, 14, 14), (7, 7), 2),
    ],
)
def test_sides(shape, smallest, layers):
    model = dcgan(shape=shape, width=4, latent=5)
    assert sum(isinstance(each, nn.ConvTranspose2d) for each in model.generator) == layers
    assert model.generator.deconv1.kernel_size == smallest
    images = model.generator(torch.randn(3, 5))
    assert images.shape == (3, *shape)
    assert images.abs().max() <= 1
    assert model.discriminator(images.flatten(1)).shape == (3,)
    assert torch.equal(model.eval()(torch.ones(3, 5)), model.discriminator(model.generator(torch.ones(3, 5))))


def names(module):
    return [name for name, _ in module.named_children()]


def test_structure():
    model = dcgan(shape=(1, 28, 28), width=4)
    assert names(model.generator) == [
        *["points", "deconv1", "norm1", "act1", "deconv2", "norm2", "act2", "deconv3", "tanh"]
    ]
    assert names(model.discriminator) == ["images", "conv1", "act1", "conv2", "norm2", "act2", "conv3", "flatten"]
    assert not [name for name, _ in model.named_parameters() if name.endswith("bias") and "norm" not in name]


def test_options():
    model = dcgan(shape=(1, 28, 28), width=4, norm=None, activation="silu", slope=0.1)
    assert not [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert type(model.generator.act1) is nn.SiLU
    assert {each.negative_slope for each in model.modules() if isinstance(each, nn.LeakyReLU)} == {0.1}
    assert model.latent == 100


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shape": (1, 30, 30)}, "dcgan: halving does not bring an image of 30×30 to sides of 4 to 7: sides such as "
         "28, 32, 64, 96 and 128 do"),
        ({"shape": (1, 5, 5)}, "dcgan: halving does not bring an image of 5×5 to sides of 4 to 7: sides such as "
         "28, 32, 64, 96 and 128 do"),
        ({"shape": (1, 64, 28)}, "dcgan: halving does not bring an image of 64×28 to sides of 4 to 7: sides such as "
         "28, 32, 64, 96 and 128 do"),
        ({"latent": 0}, "dcgan: latent must be a positive integer, got 0"),
        ({"width": 1.5}, "dcgan: width must be a positive integer, got 1.5"),
    ],
)  # fmt: skip
def test_bad_arguments(options, message):
    with pytest.raises(ArgumentError) as caught:
        dcgan(**options)
    assert str(caught.value) == message
