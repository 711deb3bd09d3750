"""The recipes that have a name: what each draws for each role, and why."""

from math import sqrt

import pytest

from fanin.axes import Axes
from fanin.errors import ArgumentError, UnknownNameError
from fanin.gains import gain
from fanin.graph import Use
from fanin.initializers import Constant, Normal, Orthogonal, Uniform
from fanin.recipes import Recipe, Rule, TensorInfo, has_role, is_called, named, names

AXES = {
    "projection": ("linear", Axes.linear((64, 256))),
    "convolution": ("conv", Axes.conv((64, 4, 3, 3), groups=8)),
    "transposed convolution": ("conv_transpose", Axes.conv_transpose((64, 16, 4, 4), stride=4)),
}


def weight(role="projection", activation="relu", parameter=None, **fields):
    op, axes = AXES[role]
    use = Use("w", op, axes, activation, parameter)
    return TensorInfo("w", axes.shape, "float32", "parameter", role, (use,), **fields)


def other(role, shape=(64,), parameter=None, **fields):
    return TensorInfo("t", shape, "float32", "parameter", role, (Use("t", role, parameter=parameter),), **fields)


def test_names_and_versions():
    assert {"native", "auto", "he", "gpt2", "vit", "fixup", "lstm"} <= {*names()}
    assert len({*names()}) == len(names())
    for name in names():
        recipe = named(name)
        assert (recipe.name, recipe.version) == (name, 3 if name in ("auto", "critical") else 1)
        assert recipe.title
        assert recipe.source


def test_unknown_name():
    with pytest.raises(UnknownNameError) as caught:
        named("xaver")
    known = ", ".join(sorted(names()))
    assert str(caught.value) == f"unknown recipe 'xaver'; did you mean 'xavier'? Known: {known}."


@pytest.mark.parametrize("role", AXES)
@pytest.mark.parametrize("activation", ["relu", "gelu", "silu", "tanh", "selu", "linear"])
def test_he_has_the_gain_of_what_follows_over_fan_in(role, activation):
    tensor = weight(role, activation)
    choice = named("he").choose(tensor)
    assert isinstance(choice.initializer, Normal)
    assert choice.initializer.std == pytest.approx(gain(activation).forward / sqrt(tensor.axes.fan_in))
    assert choice.source == "recipe he 1: He et al. 2015, arXiv 1502.01852"


def test_he_in_numbers():
    choice = named("he").choose(weight())
    assert choice.initializer.std == pytest.approx(0.0883883, rel=1e-5)
    assert choice.why == "relu follows: gain 1.414 over fan-in 256"
    assert named("he").choose(weight(activation="linear")).why == "no nonlinearity follows: gain 1 over fan-in 256"
    assert named("he").choose(weight(activation="")).why == "what follows is not known: gain 1 over fan-in 256"
    leaky = named("he").choose(weight(activation="leaky_relu", parameter=0.2))
    assert leaky.initializer.std == pytest.approx(sqrt(2 / 1.04 / 256))
    assert leaky.why == "leaky_relu(0.2) follows: gain 1.387 over fan-in 256"


def test_xavier_in_numbers():
    choice = named("xavier").choose(weight())
    assert isinstance(choice.initializer, Uniform)
    assert (choice.initializer.low, choice.initializer.high) == pytest.approx((-0.136930639376, 0.136930639376))
    assert choice.why == "keeps signal and gradient: mean of fans 256 and 64"


def test_lecun_in_numbers():
    assert named("lecun").choose(weight(activation="relu")).initializer == Normal(std=1 / 16)


def test_orthogonal_has_the_gain_and_the_rows_of_the_operation():
    linear = named("orthogonal").choose(weight(activation="tanh")).initializer
    assert isinstance(linear, Orthogonal)
    assert linear.gain == gain("tanh").forward
    assert named("orthogonal").choose(weight("transposed convolution")).initializer.rows == (1,)


@pytest.mark.parametrize("name", ["he", "xavier", "lecun", "orthogonal"])
def test_what_variance_keeping_recipes_share(name):
    def law(tensor):
        return named(name).choose(tensor).initializer

    assert law(other("bias")) == Constant(0.0)
    assert law(other("norm scale")) == Constant(1.0)
    assert law(other("norm scale", parameter=1.0)) == Constant(0.0)
    assert law(other("norm shift")) == Constant(0.0)
    assert law(other("embedding", (99, 64))) == Normal(std=1.0)
    assert law(other("embedding", (99, 64), tied_head=True)) == Normal(std=0.125)
    assert law(other("position", (1, 9, 64), tied_head=True)) == Normal(std=0.125)
    assert law(other("slope", (1,))) == Constant(0.25)


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("role", ["recurrent", "scale", "unknown"])
def test_no_recipe_guesses(name, role):
    choice = named(name).choose(other(role))
    assert choice is None or choice.initializer is None


@pytest.mark.parametrize("name", names())
def test_buffers_and_integers_are_not_for_recipes(name):
    buffer = TensorInfo("b", (4,), "float32", "buffer", "buffer")
    integer = TensorInfo("i", (4,), "int64", "parameter", "bias", (Use("i", "bias"),))
    assert named(name).choose(buffer) is None
    assert named(name).choose(integer) is None


def test_native_has_no_rules():
    assert named("native").rules == ()


def test_ggml_mnist_draws_weights_and_biases_alike():
    recipe = named("ggml-mnist")
    for tensor in (weight(), weight("convolution"), other("bias")):
        assert recipe.choose(tensor).initializer == Normal(std=0.01)
    assert "mnist-common.cpp" in recipe.choose(other("bias")).source


def test_a_weight_without_fans_is_left_alone():
    use = Use("w", "linear", None, "relu")
    assert named("he").choose(TensorInfo("w", (6, 5), "float32", "parameter", "projection", (use,))) is None


def test_a_recipe_of_ones_own_first_match_wins():
    mine = Recipe(
        "mine",
        (
            Rule(is_called("head.*"), lambda _: Constant(0.0), "a head starts silent", "my notes"),
            Rule(has_role("projection"), lambda tensor: Normal(std=0.02), lambda tensor: f"{tensor.name} as in GPT-2"),
        ),
        version=3,
    )
    head = TensorInfo("head.weight", (4, 4), "bfloat16", "parameter", "projection")
    body = TensorInfo("body.weight", (4, 4), "bfloat16", "parameter", "projection")
    assert (mine.choose(head).initializer, mine.choose(head).source) == (Constant(0.0), "recipe mine 3: my notes")
    assert (mine.choose(body).initializer, mine.choose(body).why) == (Normal(std=0.02), "body.weight as in GPT-2")
    assert mine.choose(other("bias")) is None


def test_a_rule_that_cannot_be_applied_names_recipe_and_tensor():
    bad = Recipe("bad", (Rule(has_role("bias"), lambda tensor: Normal(std=tensor.contracted.fan_in), "?"),))
    with pytest.raises(ArgumentError) as caught:
        bad.choose(other("bias"))
    assert str(caught.value) == (
        "recipe 'bad' cannot initialize 't': 't' (role bias) has no fans: no operation contracts it"
    )
