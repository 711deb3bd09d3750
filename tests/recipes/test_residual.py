"""Recipes by depth: DeepNorm, Sub-LN, T-Fixup, Fixup, SkipInit, ReZero, LayerScale, in the numbers of their sources."""

from math import sqrt

import pytest

from fanin.axes import Axes
from fanin.errors import ArgumentError, UnknownNameError
from fanin.graph import Place, Use
from fanin.initializers import Constant, Normal, Uniform
from fanin.recipes import TensorInfo, named

SHAPE = (96, 32)
XAVIER = sqrt(2 / 128)
ALONE = Place("layers", 0, 12, branch=1, branches=24, members=2)
ENCODER = Place("encoder.layers", 0, 6, "encoder", 6, 6, branch=1, branches=12, members=2)
DECODER = Place("decoder.layers", 0, 6, "decoder", 6, 6, branch=2, branches=18, members=2)
ACROSS = Place("decoder.layers", 0, 6, "decoder", 6, 6, branch=1, branches=18, members=2)
CARRYING = ("attention value", "attention output", "mlp up", "mlp gate", "mlp down")
MATCHING = ("attention query", "attention key")


def weight(role, place=ALONE, shape=SHAPE, **fields):
    use = Use("w", "linear", Axes.linear(shape), role=role)
    return TensorInfo("w", shape, "float32", "parameter", role, (use,), place=place, **fields)


def conv(place, shape=(64, 32, 3, 3), groups=1, **fields):
    use = Use("w", "conv", Axes.conv(shape, groups=groups))
    return TensorInfo("w", shape, "float32", "parameter", "convolution", (use,), place=place, **fields)


def other(role, shape=(64,), **fields):
    return TensorInfo("t", shape, "float32", "parameter", role, (Use("t", role),), **fields)


def law(recipe, tensor):
    return named(recipe).choose(tensor).initializer


# METHODS §2.2: N = 12 alone, N = M = 6 with two sides
@pytest.mark.parametrize(
    ("recipe", "place", "gain"),
    [
        ("deepnorm", ALONE, 0.319472),
        ("deepnorm", ENCODER, 0.496989),
        ("deepnorm", DECODER, 0.343294),
        ("deepnorm", ACROSS, 0.343294),
        ("subln", ALONE, 1.782710),
        ("subln", ENCODER, sqrt(2.890371758 * 2.484906650 / 3)),
        ("subln", DECODER, sqrt(2.890371758)),
        ("subln", ACROSS, 1.0),
    ],
)
@pytest.mark.parametrize("role", CARRYING)
def test_gain_by_depth_on_what_carries_the_signal(recipe, place, gain, role):
    drawn = law(recipe, weight(role, place))
    assert isinstance(drawn, Normal)
    assert drawn.std == pytest.approx(gain * XAVIER, rel=2e-6)


@pytest.mark.parametrize("recipe", ["deepnorm", "subln"])
@pytest.mark.parametrize("role", MATCHING)
@pytest.mark.parametrize("place", [ALONE, ENCODER, DECODER])
def test_queries_and_keys_have_gain_1(recipe, role, place):
    assert law(recipe, weight(role, place)).std == pytest.approx(XAVIER)


def test_deepnorm_says_what_the_code_must_multiply_the_residual_by():
    why = {place.side: named("deepnorm").choose(weight("mlp down", place)).why for place in (ALONE, ENCODER, DECODER)}
    assert why[""] == "gain β = 0.3195; the code must multiply the residual by α = 2.213"
    assert why["encoder"] == "gain β = 0.497; the code must multiply the residual by α = 1.418"
    assert why["decoder"] == "gain β = 0.3433; the code must multiply the residual by α = 2.06"


@pytest.mark.parametrize("layers", [1, 6, 12, 100, 1000])
def test_deepnorm_alpha_times_beta_is_one_over_root_two(layers):
    place = Place("layers", 0, layers, branch=0, branches=2 * layers)
    gain = law("deepnorm", weight("mlp up", place)).std / XAVIER
    assert gain * (2 * layers) ** 0.25 == pytest.approx(1 / sqrt(2))


def test_deepnorm_encoder_is_not_torchscales():
    # METHODS §4, defect 13: its encoder-decoder code divides by 1.15 where the paper multiplies by .87
    gain = law("deepnorm", weight("attention value", ENCODER)).std / XAVIER
    assert gain == pytest.approx(0.496989, rel=1e-5)
    assert gain != pytest.approx(0.656940, rel=0.1)


@pytest.mark.parametrize("recipe", ["deepnorm", "subln"])
def test_what_stands_in_no_layer_keeps_its_authors_law(recipe):
    assert named(recipe).choose(weight("attention value", Place())) is None
    assert named(recipe).choose(weight("head", Place())) is None
    assert named(recipe).choose(other("embedding", (99, 32))) is None


@pytest.mark.parametrize(("place", "scale"), [(ENCODER, 0.428092), (DECODER, 0.368894), (ACROSS, 0.368894)])
@pytest.mark.parametrize("role", CARRYING)
def test_t_fixup_scales_what_carries_the_signal(place, scale, role):
    drawn = law("t-fixup", weight(role, place))
    assert isinstance(drawn, Uniform)
    assert drawn.high == pytest.approx(scale * sqrt(6 / 128), rel=2e-6)
    assert drawn.low == -drawn.high


@pytest.mark.parametrize("role", MATCHING)
def test_t_fixup_draws_queries_and_keys_by_xavier(role):
    assert law("t-fixup", weight(role, ENCODER)).high == pytest.approx(sqrt(6 / 128))


def test_t_fixup_scales_embeddings_by_the_depth_of_their_side():
    alone = other("embedding", (99, 64), model_layers=12)
    encoder = other("embedding", (99, 64), place=Place(encoder_layers=6, decoder_layers=3), model_layers=6)
    decoder = other("embedding", (99, 64), place=Place("", None, 0, "decoder", 6, 3), model_layers=6)
    for tensor, depth in ((alone, 12), (encoder, 6), (decoder, 3)):
        assert law("t-fixup", tensor).std == pytest.approx((9 * depth) ** -0.25 / 8)


@pytest.mark.parametrize(
    ("members", "blocks", "scale"), [(2, 54, 54**-0.5), (3, 16, 16**-0.25), (2, 1, 1.0), (4, 64, 64 ** (-1 / 6))]
)
def test_fixup_scales_branches_by_their_number_and_length(members, blocks, scale):
    place = Place("layers", 0, 8, branch=0, branches=8, members=members)
    drawn = law("fixup", conv(place, model_branches=blocks))
    assert isinstance(drawn, Normal)
    assert drawn.std == pytest.approx(scale * sqrt(2 / (64 * 9)))


def test_fixup_beside_the_branches():
    last = Place("layers", 0, 8, branch=0, branches=8, members=2, last=True)
    assert law("fixup", conv(last, model_branches=8)) == Constant(0.0)
    alone = Place("layers", 0, 8, branch=0, branches=8, members=1, last=True)
    assert law("fixup", conv(alone, model_branches=8)) == Constant(0.0)
    assert law("fixup", conv(Place("layers", 1, 8), model_branches=8)) == Normal(std=sqrt(2 / (64 * 9)))
    assert named("fixup").choose(conv(Place(), model_branches=8)) is None
    assert law("fixup", weight("head", Place())) == Constant(0.0)
    assert law("fixup", other("layer scale", (1,))) == Constant(1.0)
    assert law("fixup", other("scale", ())) == Constant(1.0)
    assert named("fixup").choose(other("scale", (64,))) is None
    assert law("fixup", other("bias", (1,))) == Constant(0.0)
    assert law("fixup", other("position", (1,))) == Constant(0.0)
    assert named("fixup").choose(other("position", (1, 64))) is None


@pytest.mark.parametrize("recipe", ["skipinit", "rezero"])
@pytest.mark.parametrize("shape", [(), (1,), (64,)])
def test_shut_branches(recipe, shape):
    assert law(recipe, other("layer scale", shape)) == Constant(0.0)
    assert named(recipe).choose(weight("mlp down")) is None


@pytest.mark.parametrize(
    ("layers", "eps"), [(1, 0.1), (12, 0.1), (18, 0.1), (19, 1e-5), (24, 1e-5), (25, 1e-6), (36, 1e-6), (48, 1e-6)]
)
def test_layerscale_by_depth_of_the_model(layers, eps):
    # CaiT's two layers of class attention are as shut as its many layers of self-attention
    few = Place("blocks_token_only", 0, 2)
    assert law("layerscale", other("layer scale", model_layers=layers, place=few)) == Constant(eps)


def test_layerscale_with_a_number():
    tensor = other("layer scale", model_layers=12)
    choice = named("layerscale,eps=1e-4").choose(tensor)
    assert (choice.initializer, choice.why) == (Constant(1e-4), "branches start at 0.0001")
    assert named("layerscale").choose(tensor).why == "12 layers deep: branches start almost shut"
    assert named("layerscale,eps=1e-4").choose(weight("mlp down")) is None


def test_layerscale_refuses_what_is_no_number():
    with pytest.raises(ArgumentError, match="option eps of recipe 'layerscale' must be a finite number, got 'small'"):
        named("layerscale,eps=small")
    with pytest.raises(UnknownNameError, match="unknown option of recipe 'layerscale' 'epsilon'"):
        named("layerscale,epsilon=1")


@pytest.mark.parametrize(
    ("recipe", "paper"),
    [
        ("deepnorm", "2203.00555"),
        ("subln", "2210.06423"),
        ("t-fixup", "Huang et al. 2020"),
        ("fixup", "1901.09321"),
        ("skipinit", "2002.10444"),
        ("rezero", "2003.04887"),
        ("layerscale", "2103.17239"),
    ],
)
def test_each_cites_its_paper(recipe, paper):
    assert paper in named(recipe).source
