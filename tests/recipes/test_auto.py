"""`auto` in numbers and words, tensor by tensor."""

from __future__ import annotations

from dataclasses import replace
from math import sqrt

import pytest

from fanin.axes import Axes
from fanin.gains import critical_point, gain, gated_point, operating_point, response
from fanin.graph import ROLES, Place, Use
from fanin.initializers import Blocks, Constant, Mirrored, Normal, Orthogonal
from fanin.recipes import TensorInfo, named
from fanin.recipes.auto_weights import DEEP

AUTO = named("auto")
LINEAR = Axes.linear((64, 256))


def weight(role="projection", activation="linear", place=None, axes=LINEAR, op="linear", **fields):
    use = Use("w", op, axes, activation, **fields)
    return TensorInfo("w", axes.shape, "float32", "parameter", role, (use,), place=place or Place())


def other(role, shape=(64,), parameter=None, **fields):
    return TensorInfo("t", shape, "float32", "parameter", role, (Use("t", role, parameter=parameter),), **fields)


def std(tensor):
    return AUTO.choose(tensor).initializer.std


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "selu", "linear"])
def test_scale_free_nonlinearities_have_their_gain_over_fan_in(activation):
    assert std(weight(activation=activation)) == pytest.approx(gain(activation).forward / 16, rel=1e-8)


@pytest.mark.parametrize("activation", ["gelu", "silu", "mish", "elu"])
def test_what_is_passed_on_has_a_second_moment_of_one(activation):
    assert response(activation, 256 * std(weight(activation=activation)) ** 2).second_moment == pytest.approx(1)


def test_bounded_nonlinearities_are_made_up_for_by_the_next_weight():
    assert std(weight(activation="tanh")) == pytest.approx(1 / 16)
    assert std(weight(activation="tanh", reads="tanh")) == pytest.approx(gain("tanh").forward / 16)
    assert std(weight("head", reads="sigmoid")) == pytest.approx(gain("sigmoid").forward / 16)
    assert std(weight("head", reads="relu")) == pytest.approx(1 / 16)


def test_the_number_of_a_nonlinearity_is_used():
    assert std(weight(activation="leaky_relu", parameter=1.0)) == pytest.approx(1 / 16)
    narrow = weight("head", reads="sin", reads_parameter=0.1)
    assert std(narrow) == pytest.approx(1 / 16 / sqrt(response("sin", 1.0, 0.1).second_moment))


def test_words():
    why = AUTO.choose(weight(activation="gelu")).why
    assert why == "gelu follows: gain 1.468 over fan-in 256; passes on a second moment of 1, gradients ×1.06"
    plain = "no nonlinearity follows: gain 1 over fan-in 256; logits of variance 1"
    assert AUTO.choose(weight("head")).why == f"{plain} out of variance 1"
    assert AUTO.choose(weight("head", reads="relu")).why == f"reads relu, {plain}"
    assert AUTO.choose(weight(activation="")).why == "what follows is not known: gain 1 over fan-in 256"
    why = AUTO.choose(weight(activation="leaky_relu", parameter=0.2, reads="tanh")).why
    assert why.startswith("reads tanh, leaky_relu(0.2) follows: gain 2.208")
    assert AUTO.choose(weight(activation="relu", normed=True)).why.endswith(
        "a norm follows, so the scale does not matter"
    )


def test_gates_and_values_are_alike_and_their_product_is_one():
    gate, value = weight("mlp gate", "silu"), weight("mlp up", gated_by="silu")
    assert std(gate) == std(value) == sqrt(gated_point("silu").variance) / 16
    assert response("silu", 256 * std(gate) ** 2).second_moment * 256 * std(value) ** 2 == pytest.approx(1)
    assert std(weight("mlp down")) == 1 / 16
    assert AUTO.choose(value).why.endswith("gate and value alike, their product has a second moment of 1")


def last(normed="", **fields):
    return Place("layers", 3, 12, branch=7, branches=24, last=True, width=64, normed=normed, **fields)


def test_the_last_weight_of_a_branch_shares_the_growth_of_the_stream():
    choice = AUTO.choose(weight("mlp down", place=last()))
    assert choice.initializer.std == pytest.approx(1 / 16 / sqrt(24))
    assert choice.why.endswith("one of 24 branches, variance 1/24 of the stream each: together they make it ×2.66")
    assert "arXiv 1803.01719" in choice.source
    assert std(weight("mlp down", place=last(), normed=True)) == 1 / 16
    assert std(weight("mlp down", place=replace(last(), last=False))) == 1 / 16


def test_branches_that_read_through_norms_double_whatever_the_stream_starts_with():
    def down(normed="before", **fields):
        place = last(normed, **{name: fields.pop(name) for name in ("tables", "positions", "others") if name in fields})
        return weight("mlp down", place=place, **fields)

    assert std(down(others=1.0)) == pytest.approx(1 / 16 / sqrt(24))
    assert std(down(others=1.0, positions=1.0)) == pytest.approx(sqrt(1.25 / 24) / 16)
    assert std(down(tables=1.0, positions=1.0)) == pytest.approx(sqrt(2 / 24) / 16)
    patches = tied_to_the_head(down(others=1.0, positions=1.0))
    assert std(patches) == pytest.approx(sqrt(1.25 / 24) / 16)
    tied = tied_to_the_head(down(tables=1.0, positions=1.0))
    assert std(tied) == pytest.approx(sqrt(1.25 / 64 / 24) / 16)
    assert AUTO.choose(tied).why.endswith(
        "one of 24 branches, variance 0.0195/24 each: together they add as much as the stream starts with, 0.0195"
    )
    # Gemma multiplies its table by √d
    assert std(tied_to_the_head(down(tables=64.0))) == pytest.approx(1 / 16 / sqrt(24))
    # T5 multiplies the input of its head by 1/√d
    assert std(tied_to_the_head(down(tables=1.0), 0.125)) == pytest.approx(1 / 16 / sqrt(24))
    behind = AUTO.choose(tied_to_the_head(down("after", others=1.0)))
    assert behind.initializer.std == pytest.approx(1 / 16 / sqrt(24))
    assert behind.why.endswith("one of 24 branches, variance 1/24 each beside a stream that norms keep at 1")


def tied_to_the_head(tensor, head_scale=1.0):
    return replace(tensor, tied_head=True, head_scale=head_scale)


def opening(**fields):
    return Use("v", "linear", LINEAR, **{"activation": "linear", "behind_norm": True, **fields})


OPENS = Place("layers", 3, 12, branch=7, branches=24, members=2, width=64, normed="before")
ENDS = replace(OPENS, last=True, others=1.0)


@pytest.mark.parametrize("role", ["attention query", "attention key", "attention value", "mlp up", "projection"])
def test_weights_that_open_a_branch_behind_a_norm_have_two_fifths(role):
    choice = AUTO.choose(weight(role, place=OPENS, behind_norm=True))
    assert choice.initializer.std == pytest.approx(sqrt(2 / 5 / 256))
    assert choice.why.startswith("behind a norm ×√0.4, no nonlinearity follows: gain 0.6325 over fan-in 256")
    assert "arXiv 1910.05895" in choice.source
    longer, unnormed = replace(OPENS, members=3), replace(OPENS, normed="")
    for place in (longer, unnormed):
        assert std(weight(role, place=place, behind_norm=True)) == 1 / 16
    assert std(weight(role, place=OPENS)) == 1 / 16


def test_heads_behind_a_norm_have_two_fifths():
    choice = AUTO.choose(weight("head", behind_norm=True))
    assert choice.initializer.std == pytest.approx(sqrt(2 / 5 / 256))
    assert choice.why.endswith("logits of variance 0.4 out of variance 1")
    tied = replace(other("embedding", (99, 64)), tied_head=True, head_behind_norm=True)
    assert AUTO.choose(tied).initializer.std == pytest.approx(sqrt(2 / 5 / 64))
    assert AUTO.choose(tied).why == "tables are tied to the head: √(0.4/64) gives logits of variance 0.4"
    scaled = AUTO.choose(replace(tied, head_scale=0.125))
    assert scaled.initializer.std == pytest.approx(sqrt(2 / 5))
    assert scaled.why.endswith("whose input is multiplied by 0.125: 0.6325 gives logits of variance 0.4")


@pytest.mark.parametrize(
    ("first", "passed"),
    [
        (opening(role="attention value"), 0.4),
        (opening(activation="", role="attention value"), 0.4),
        (opening(activation="relu"), 0.4),
        (opening(activation="tanh"), response("tanh", 0.4).second_moment),
        (opening(activation="gelu"), response("gelu", 0.4 * operating_point("gelu").variance).second_moment),
        (opening(activation="relu", role="mlp gate"), 0.16),
        (opening(role="mlp gate"), 0.16),
    ],
)
def test_the_last_weight_makes_up_for_what_the_norm_took(first, passed):
    end = weight("mlp down", place=ENDS)
    assert std(replace(end, opening=first)) == pytest.approx(1 / 16 / sqrt(24 * passed))
    assert std(replace(end, opening=replace(first, behind_norm=False))) == pytest.approx(1 / 16 / sqrt(24))
    assert std(replace(end, opening=first, place=replace(ENDS, members=3))) == pytest.approx(1 / 16 / sqrt(24))


def test_a_last_weight_that_reads_a_norm_itself_has_nothing_to_make_up_for():
    end = replace(weight("mlp down", place=ENDS, behind_norm=True), opening=opening(activation="gelu"))
    assert std(end) == pytest.approx(1 / 16 / sqrt(24))


def test_gates_behind_a_norm_say_what_their_product_has():
    up = weight("mlp up", place=OPENS, behind_norm=True, gated_by="silu")
    gate = weight("mlp gate", "silu", place=OPENS, behind_norm=True)
    assert std(up) == std(gate) == pytest.approx(sqrt(0.4 * gated_point("silu").variance) / 16)
    assert AUTO.choose(up).why.endswith("gate and value alike, their product has a second moment of 0.137")
    wide = AUTO.choose(weight("attention query", place=OPENS, behind_norm=True, scores=8.0))
    assert ("scores of variance 0.16, though") in wide.why


def test_branches_that_a_learned_factor_shuts_are_not_narrowed_too():
    assert std(weight("mlp down", place=last(scaled=True))) == 1 / 16


def test_zero_where_identity_is_wanted():
    assert AUTO.choose(weight("modulation")).initializer == Constant(0.0)
    assert AUTO.choose(weight("lora B")).initializer == Constant(0.0)
    assert AUTO.choose(weight("lora A")).initializer == Normal(std=1 / 16)
    assert AUTO.choose(other("norm scale", parameter=1.0)).initializer == Constant(0.0)
    assert AUTO.choose(other("norm scale")).initializer == Constant(1.0)
    assert AUTO.choose(other("layer scale", (), model_layers=12)).initializer == Constant(0.0)
    assert AUTO.choose(other("layer scale", (1,), model_layers=12)).initializer == Constant(0.0)
    assert AUTO.choose(other("relative position", (49, 4))).initializer == Constant(0.0)


def test_the_last_norm_of_a_branch_has_its_share_behind_any_weight():
    convolution, dense = (Use("w", op, partner="") for op in ("conv", "linear"))
    behind = {"place": last(tables=16.0), "tied_head": True}
    for partner in (convolution, dense, None):
        choice = AUTO.choose(other("norm scale", partner=partner, **behind))
        assert choice.initializer.value == pytest.approx(sqrt(0.25 / 24))
        assert choice.why.startswith("a branch ends in this norm: 0.1021; one of 24 branches, variance 0.25/24 each")
    added = AUTO.choose(other("norm scale", parameter=1.0, **behind)).initializer
    assert added.value == pytest.approx(sqrt(0.25 / 24) - 1)


def test_queries_take_in_what_scores_are_not_divided_by():
    wide = AUTO.choose(weight("attention query", scores=8.0))
    assert wide.initializer.std == 1 / 128
    assert wide.why.endswith("scores of variance 1, though they are 8 times what division by √d_head gives")
    for tensor in (weight("attention query", scores=1.0), weight("attention query", scores=0.0)):
        assert std(tensor) == 1 / 16
    assert std(weight("attention key", scores=8.0)) == std(weight("attention query", scores=0.125)) == 1 / 16
    assert std(weight("attention query", scores=8.0, normed=True)) == 1 / 16


@pytest.mark.parametrize(("layers", "value"), [(12, 0.1), (18, 0.1), (24, 1e-5), (36, 1e-6)])
def test_layer_scale_goes_by_depth(layers, value):
    assert AUTO.choose(other("layer scale", model_layers=layers)).initializer == Constant(value)


def test_tables():
    assert AUTO.choose(other("embedding", (99, 64))).initializer == Normal(std=1.0)
    assert AUTO.choose(other("embedding", (99, 64), tied_head=True)).initializer == Normal(std=0.125)
    beside = (Place(others=1.0, positions=1.0), Place(tables=1.0, positions=1.0))
    patches, alone = (AUTO.choose(other("position", (1, 9, 64), place=place)) for place in beside)
    assert (patches.initializer, alone.initializer) == (Normal(std=0.5), Normal(std=1.0))
    assert patches.why == "half as wide as what it is added to"
    assert alone.why == "as wide as the tokens it is added to, whose table is no head"
    laws = [AUTO.choose(other("position", (1, 9, 64), tied_head=True, place=place)).initializer for place in beside]
    assert laws == [Normal(std=0.5), Normal(std=0.0625)]
    scaled = AUTO.choose(other("embedding", (99, 64), tied_head=True, head_scale=0.125))
    assert scaled.initializer == Normal(std=1.0)
    assert scaled.why == (
        "tables are tied to the head, whose input is multiplied by 0.125: 1 gives logits of variance 1"
    )
    assert AUTO.choose(other("token", (1, 1, 64))).initializer == Normal(std=1.0)
    use = Use("t", "embedding", padding=3)
    padded = TensorInfo("t", (99, 64), "float32", "parameter", "embedding", (use,))
    assert AUTO.choose(padded).initializer == Blocks(Normal(std=1.0), parts=(((3, 0), (1, 64), Constant(0.0)),))


def test_positions_that_are_computed_stay():
    choice = AUTO.choose(other("position", (9, 64), computed=True))
    assert choice.initializer is None
    assert choice.why == "positions that the model's code computes, such as sinusoids, stay"


def test_router_bias_and_slope():
    assert std(weight("router")) == pytest.approx(sqrt(0.1) / 16)
    assert AUTO.choose(other("bias")).initializer == Constant(0.0)
    assert AUTO.choose(other("slope", (1,))).initializer == Constant(0.25)


def test_recurrent_layers_gate_by_gate():
    axes = Axes.linear((64, 64))
    hidden = AUTO.choose(weight("recurrent hidden", axes=axes, op="lstm", gate="cell"))
    assert hidden.initializer == Orthogonal(1.0)
    forget = Use("b", "bias", gate="forget", partner="w")
    bias = TensorInfo("b", (64,), "float32", "parameter", "bias", (forget,), partner_role="recurrent input")
    assert AUTO.choose(bias).initializer == Constant(1.0)
    second = TensorInfo("b", (64,), "float32", "parameter", "bias", (forget,), partner_role="recurrent hidden")
    assert AUTO.choose(second).initializer == Constant(0.0)
    assert "Keras" in AUTO.choose(second).source


@pytest.mark.parametrize("role", ["state-space A", "state-space D", "time step", "scale", "unknown", "packed"])
def test_what_only_the_authors_know_stays(role):
    choice = AUTO.choose(other(role))
    assert choice.initializer is None
    assert choice.why.endswith("the authors' law stays") or choice.why.endswith("their law stays")


def test_the_projection_to_time_steps_stays():
    inside = Place("layers", 0, 2, branch=0, branches=2)
    assert AUTO.choose(weight(activation="softplus", place=inside)).initializer is None
    assert AUTO.choose(weight(activation="softplus")).initializer is not None


def test_every_role_has_an_answer_with_a_reason():
    for role in set(ROLES) - {"buffer"}:
        choice = AUTO.choose(weight(role, axes=Axes.linear((64, 64))))
        assert choice is not None
        assert choice.why
        assert choice.source.startswith("recipe auto 3: ")


def chain(ordinal, activation="relu", length=DEEP, shape=(64, 64), **fields):
    place = Place(chain=ordinal, chained=length)
    reads = activation if ordinal else ""
    return weight(activation=activation, place=place, axes=Axes.linear(shape), reads=reads, **fields)


def test_deep_chains_are_mirrored():
    first, middle, last = (AUTO.choose(chain(ordinal)).initializer for ordinal in (0, 1, DEEP - 1))
    assert (first.axes, middle.axes, last.axes) == ((0,), (0, 1), (1,))
    assert first.of.gain == pytest.approx(sqrt(2))
    assert middle.of.gain == pytest.approx(1)
    # as wide as He's: the law of single units
    for law in (first, middle, last):
        assert law.moments((64, 64))[1] == pytest.approx(sqrt(2 / 64))
    assert isinstance(AUTO.choose(chain(1, length=DEEP - 1)).initializer, Normal)
    assert AUTO.choose(chain(1)).why == (
        "relu follows in a chain of 10 weights: orthogonal, units in pairs ±; gain 1, gradients ×1"
    )
    assert "arXiv 1702.08591" in AUTO.choose(chain(1)).source


def test_deep_chains_of_bounded_functions_are_critical():
    first, middle, head = (AUTO.choose(each) for each in (chain(0, "tanh"), chain(1, "tanh"), tanh_head()))
    point = critical_point("tanh", layers=DEEP)
    assert middle.initializer == Orthogonal(1.0)
    assert first.initializer.gain == pytest.approx(sqrt(point.variance))
    assert first.initializer == named("critical").choose(chain(0, "tanh")).initializer
    passed = response("tanh", point.variance).second_moment
    assert head.initializer.gain == pytest.approx(sqrt(1 / passed))
    assert "tanh is critical only where its signal vanishes" in first.why
    assert "Roberts" in middle.source
    assert isinstance(AUTO.choose(chain(1, "tanh", length=DEEP - 1)).initializer, Normal)
    assert isinstance(AUTO.choose(chain(1, "selu")).initializer, Mirrored)
    # beside mirrored neighbours, whose signal is of full width
    assert isinstance(AUTO.choose(chain(1, "selu", shape=(63, 63))).initializer, Normal)
    mixed = weight(activation="tanh", reads="relu", place=Place(chain=1, chained=DEEP), axes=Axes.linear((64, 64)))
    assert isinstance(AUTO.choose(mixed).initializer, Mirrored)


def tanh_head():
    place = Place(chain=DEEP - 1, chained=DEEP)
    return weight("head", place=place, axes=Axes.linear((64, 64)), reads="tanh")


def test_chains_that_mirroring_does_not_help_are_plain():
    assert AUTO.choose(chain(1, "relu_squared")).why.endswith("a deviation grows ×2 per layer, at any scale")
    assert AUTO.choose(chain(0, shape=(63, 64))).initializer == Normal(std=sqrt(2 / 64))
    short = chain(1, "gelu", length=4)
    assert AUTO.choose(short).why.endswith("a deviation grows ×1.08 per layer")


def test_kernels_inside_a_deep_chain_have_their_centre_alone():
    axes = Axes.conv((32, 32, 3, 3))
    laws = []
    for ordinal in (0, 1):
        place = Place(chain=ordinal, chained=DEEP)
        tensor = weight("convolution", "silu", place, axes, "conv", reads="silu" if ordinal else "")
        laws.append(AUTO.choose(tensor).initializer)
    assert [type(law.of).__name__ for law in laws] == ["Orthogonal", "DeltaOrthogonal"]
    assert laws[0].moments(axes.shape)[1] == pytest.approx(sqrt(operating_point("silu").variance / 288))
    assert all(isinstance(law, Mirrored) for law in laws)


def test_widths_that_change_inside_a_deep_chain():
    wide = AUTO.choose(chain(1, shape=(256, 64))).initializer
    narrow = AUTO.choose(chain(1, shape=(64, 256))).initializer
    assert wide.moments((256, 64))[1] == pytest.approx(sqrt(2 / 64))
    assert narrow.moments((64, 256))[1] == pytest.approx(sqrt(2 / 256))
