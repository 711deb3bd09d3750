"""Recipes for images: ViT, ResNet, EfficientNet, ConvNeXt, in the numbers of their sources."""

from math import log, sqrt

import pytest

from fanin.axes import Axes
from fanin.errors import ArgumentError
from fanin.graph import Place, Use
from fanin.initializers import Constant, Normal, TruncatedNormal, Uniform
from fanin.recipes import TensorInfo, named


def weight(role="projection", shape=(96, 32), place=None):
    use = Use("w", "linear", Axes.linear(shape))
    return TensorInfo("w", shape, "float32", "parameter", role, (use,), place=place or Place())


def conv(shape=(64, 32, 3, 3), groups=1, stride=1, place=None):
    use = Use("w", "conv", Axes.conv(shape, groups=groups, stride=stride))
    return TensorInfo("w", shape, "float32", "parameter", "convolution", (use,), place=place or Place())


def other(role, shape=(64,), partner_role="", place=None, parameter=None):
    uses = (Use("t", role, parameter=parameter),)
    return TensorInfo("t", shape, "float32", "parameter", role, uses, place=place or Place(), partner_role=partner_role)


def law(recipe, tensor):
    return named(recipe).choose(tensor).initializer


MATRICES = ("attention query", "attention value", "attention output", "mlp up", "mlp down", "projection")
PATCHES = (768, 3, 16, 16)


@pytest.mark.parametrize("role", [*MATRICES, "head"])
def test_vit_of_timm(role):
    # METHODS §4, defect 9: trunc_normal_(std=.02) cuts nothing, so the law is said to be what it is
    assert law("vit", weight(role)) == Normal(std=0.02)


@pytest.mark.parametrize("mode", ["jax", "jax_nlhb", "moco"])
@pytest.mark.parametrize("role", MATRICES)
def test_vit_of_flax_and_moco(mode, role):
    drawn = law(f"vit,mode={mode}", weight(role))
    assert isinstance(drawn, Uniform)
    assert drawn.high == pytest.approx(sqrt(6 / 128))


def test_vit_patches():
    bound = 1 / sqrt(768)
    for mode in ("timm", "moco"):
        drawn = law(f"vit,mode={mode}", conv(PATCHES, stride=256))
        assert (drawn.low, drawn.high) == pytest.approx((-bound, bound))
        assert law(f"vit,mode={mode}", other("bias", partner_role="convolution")) is None
    flax = law("vit,mode=jax", conv(PATCHES, stride=256))
    assert isinstance(flax, TruncatedNormal)
    assert (flax.std, flax.upper, flax.corrected) == (pytest.approx(bound), 2.0, True)
    assert law("vit,mode=jax", other("bias", partner_role="convolution")) == Constant(0.0)


def test_vit_heads_and_biases():
    assert law("vit,mode=jax", weight("head", (1000, 64))) == Constant(0.0)
    assert law("vit,mode=jax", other("bias", (1000,), "head")) == Constant(0.0)
    assert law("vit,mode=jax_nlhb", other("bias", (1000,), "head")) == Constant(-log(1000))
    assert law("vit,mode=jax", other("bias", partner_role="mlp up")) == Normal(std=1e-6)
    assert law("vit,mode=jax", other("bias", partner_role="attention query")) == Constant(0.0)
    for mode in ("timm", "moco"):
        assert law(f"vit,mode={mode}", other("bias", partner_role="mlp up")) == Constant(0.0)
        assert law(f"vit,mode={mode}", other("bias", (1000,), "head")) == Constant(0.0)


@pytest.mark.parametrize("mode", ["timm", "jax", "jax_nlhb", "moco"])
def test_vit_tables_and_norms(mode):
    recipe = f"vit,mode={mode}"
    assert law(recipe, other("position", (1, 197, 64))) == Normal(std=0.02)
    assert law(recipe, other("token", (1, 1, 64))) == Normal(std=1e-6)
    assert law(recipe, other("norm scale")) == Constant(1.0)
    assert law(recipe, other("norm shift")) == Constant(0.0)
    assert named(recipe).choose(other("layer scale")) is None


@pytest.mark.parametrize("layer", [0, 1, 11])
def test_vit_rescaled_as_beit(layer):
    inside = Place("blocks", layer, 12, branch=2 * layer, branches=24, members=2)
    last = Place("blocks", layer, 12, branch=2 * layer, branches=24, members=2, last=True)
    factor = 1 / sqrt(2 * (layer + 1))
    assert law("vit,rescale=true", weight("mlp down", place=last)).std == pytest.approx(0.02 * factor)
    assert law("vit,rescale=true", weight("mlp up", place=inside)).std == 0.02
    assert law("vit", weight("mlp down", place=last)).std == 0.02
    deep = law("vit,mode=moco,rescale=true", weight("attention output", place=last))
    assert deep.high == pytest.approx(factor * sqrt(6 / 128))
    why = named("vit,rescale=true").choose(weight("mlp down", place=last)).why
    assert why == f"last weight of a branch of layer {layer}, counted from 0: divided by {1 / factor:.4g}"


def test_vit_has_four_modes():
    with pytest.raises(ArgumentError) as caught:
        named("vit,mode=beit")
    assert str(caught.value) == "option mode of recipe 'vit' must be one of timm, jax, jax_nlhb, moco, got 'beit'"


@pytest.mark.parametrize("recipe", ["resnet", "efficientnet"])
def test_convolutions_count_the_outputs_of_their_group(recipe):
    # METHODS §4, defect 7: torch counts 64·9 outputs for every input of a depthwise convolution
    assert law(recipe, conv((64, 32, 3, 3))) == Normal(std=sqrt(2 / (64 * 9)))
    assert law(recipe, conv((64, 1, 3, 3), groups=64)) == Normal(std=sqrt(2 / 9))
    assert law(recipe, conv((64, 4, 5, 5), groups=8)) == Normal(std=sqrt(2 / (8 * 25)))


def test_resnet_starts_its_blocks_shut():
    last = Place("layer", 0, 4, branch=0, branches=4, members=2, last=True)
    choice = named("resnet").choose(other("norm scale", place=last))
    assert choice.initializer == Constant(0.0)
    assert "Goyal et al. 2017" in choice.source
    assert law("resnet", other("norm scale", place=last, parameter=1.0)) == Constant(-1.0)
    assert law("resnet", other("norm scale")) == Constant(1.0)
    assert law("resnet", other("norm shift", place=last)) == Constant(0.0)
    # the last convolution itself is drawn like all others
    assert law("resnet", conv(place=last)) == Normal(std=sqrt(2 / (64 * 9)))


def test_resnet_classifier_is_torchs_linear():
    drawn = law("resnet", weight("head", (1000, 64)))
    assert (drawn.low, drawn.high) == pytest.approx((-0.125, 0.125))
    assert law("resnet", other("bias", (1000,), "head")) is None
    assert law("resnet", other("bias", partner_role="convolution")) == Constant(0.0)


def test_efficientnet_classifier_is_uniform_over_its_outputs():
    drawn = law("efficientnet", weight("head", (100, 64)))
    assert (drawn.low, drawn.high) == (-0.1, 0.1)
    assert law("efficientnet", other("bias", (100,), "head")) == Constant(0.0)
    assert law("efficientnet", other("norm scale")) == Constant(1.0)


def test_convnext():
    for tensor in (conv(), conv((64, 1, 7, 7), groups=64), weight("mlp up"), weight("head")):
        assert law("convnext", tensor) == Normal(std=0.02)
    assert law("convnext", other("layer scale")) == Constant(1e-6)
    assert law("convnext", other("bias")) == Constant(0.0)
    assert law("convnext", other("norm scale")) == Constant(1.0)


@pytest.mark.parametrize(
    ("recipe", "paper"),
    [
        ("vit", "2012.12877"),
        ("vit,mode=jax", "2010.11929"),
        ("vit,mode=moco", "2104.02057"),
        ("resnet", "1512.03385"),
        ("efficientnet", "1905.11946"),
        ("convnext", "2201.03545"),
    ],
)
def test_each_cites_its_paper(recipe, paper):
    assert paper in named(recipe).source
