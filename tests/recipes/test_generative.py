"""Recipes for generators of images: DCGAN and DiT."""

from math import sqrt

import pytest

from fanin.axes import Axes
from fanin.graph import Place, Use
from fanin.initializers import Constant, Normal, Uniform
from fanin.recipes import TensorInfo, named

INSIDE = Place("blocks", 0, 28, branch=0, branches=56, members=2)


def weight(role, axes, place=None):
    use = Use("w", "conv" if len(axes.shape) == 4 else "linear", axes)
    return TensorInfo("w", axes.shape, "float32", "parameter", role, (use,), place=place or Place())


def other(role, shape=(64,), partner_role="", place=None, parameter=None):
    uses = (Use("t", role, parameter=parameter),)
    return TensorInfo("t", shape, "float32", "parameter", role, uses, place=place or Place(), partner_role=partner_role)


def law(recipe, tensor):
    return named(recipe).choose(tensor).initializer


@pytest.mark.parametrize(
    ("role", "axes"),
    [
        ("convolution", Axes.conv((64, 3, 4, 4))),
        ("transposed convolution", Axes.conv_transpose((100, 512, 4, 4))),
        ("projection", Axes.linear((1024, 100))),
        ("head", Axes.linear((1, 512))),
    ],
)
def test_dcgan_weights(role, axes):
    assert law("dcgan", weight(role, axes)) == Normal(std=0.02)


def test_dcgan_norms():
    assert law("dcgan", other("norm scale")) == Normal(1.0, 0.02)
    assert law("dcgan", other("norm scale", parameter=1.0)) == Normal(0.0, 0.02)
    assert law("dcgan", other("norm shift")) == Constant(0.0)
    assert named("dcgan").choose(other("bias")) is None


@pytest.mark.parametrize("role", ["attention query", "attention output", "mlp up", "mlp down", "projection"])
def test_dit_inside_of_its_blocks(role):
    drawn = law("dit", weight(role, Axes.linear((96, 32)), INSIDE))
    assert isinstance(drawn, Uniform)
    assert drawn.high == pytest.approx(sqrt(6 / 128))


def test_dit_is_zero_where_blocks_are_to_be_identity():
    for place in (INSIDE, Place()):
        assert law("dit", weight("modulation", Axes.linear((192, 32)), place)) == Constant(0.0)
        assert law("dit", other("bias", (192,), "modulation", place)) == Constant(0.0)
    assert law("dit", weight("head", Axes.linear((16, 32)))) == Constant(0.0)
    assert law("dit", other("bias", (16,), "head")) == Constant(0.0)


def test_dit_embeds():
    assert law("dit", weight("projection", Axes.linear((32, 256)))) == Normal(std=0.02)
    assert law("dit", other("embedding", (1001, 32))) == Normal(std=0.02)
    # the view [1152, 4·2·2] that the code draws Xavier into: U(±√(6/(16 + 1152)))
    patches = law("dit", weight("convolution", Axes.conv((1152, 4, 2, 2), stride=4)))
    assert patches.high == pytest.approx(sqrt(6 / 1168))
    assert named("dit").choose(other("position", (1, 256, 32))) is None


@pytest.mark.parametrize(("recipe", "paper"), [("dcgan", "1511.06434"), ("dit", "2212.09748")])
def test_each_cites_its_paper(recipe, paper):
    assert paper in named(recipe).source
