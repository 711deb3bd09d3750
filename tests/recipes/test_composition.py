"""Recipes put together: options, overrides, `a | b`, rules that keep the authors' law."""

from __future__ import annotations

import pytest
from torch import nn

import fanin
from fanin import schemes
from fanin.axes import Axes
from fanin.errors import ArgumentError, UnknownNameError
from fanin.graph import Place, Use
from fanin.initializers import Constant, Normal
from fanin.recipes import Recipe, Rule, TensorInfo, both, has_role, is_called, named, names, options


def tensor(name="fc.weight", role="projection", shape=(64, 256), **fields):
    axes = Axes.linear(shape) if len(shape) == 2 and role != "embedding" else None
    return TensorInfo(name, shape, "float32", "parameter", role, (Use(name, "linear", axes),), **fields)


BIAS = TensorInfo("fc.bias", (64,), "float32", "parameter", "bias")


def one_layer():
    return nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2))


class TestOptions:
    def test_every_option_has_a_default_and_a_meaning(self):
        for name in names():
            for option in options(name):
                assert option.meaning, (name, option.name)
                assert option.read(name, option.default) == option.default
            assert named(name).name == name

    def test_text_and_python_say_the_same(self):
        by_text = named("gpt2,std=0.01").choose(tensor())
        assert by_text.initializer == Normal(std=0.01)
        assert named("gpt2", std=0.01).choose(tensor()) == by_text
        assert named(" gpt2 , std = 1e-2 ").name == "gpt2,std=0.01"

    def test_words_and_switches(self):
        assert named("llama-depth,divide=depth,up=true").name == "llama-depth,divide=depth,up=true"
        place = Place("h", 0, 8, branch=0, branches=16, last=True, width=64)
        out = tensor(role="mlp down", place=place)
        by_layer, by_depth = (
            named(each).choose(out).initializer for each in ("llama-depth", "llama-depth,divide=depth")
        )
        assert by_layer.std == pytest.approx(0.02 / 2**0.5)
        assert by_depth.std == pytest.approx(0.02 / 4)

    @pytest.mark.parametrize(
        ("spec", "text"),
        [
            ("gpt2,std=wide", "option std of recipe 'gpt2' must be a finite number, got 'wide'"),
            ("gpt2,std=nan", "option std of recipe 'gpt2' must be a finite number, got 'nan'"),
            ("gpt2,std", "options of recipe 'gpt2' are written as name=value, got 'std'"),
            ("he,gain=2", "recipe 'he' takes no options, got 'gain'"),
            ("llama-depth,up=1", "option up of recipe 'llama-depth' must be true or false, got '1'"),
            ("llama-depth,divide=l", "option divide of recipe 'llama-depth' must be one of layer, depth, got 'l'"),
        ],
    )
    def test_impossible_values_are_refused(self, spec, text):
        with pytest.raises(ArgumentError) as caught:
            named(spec)
        assert str(caught.value) == text

    def test_unknown_options_suggest_the_nearest(self):
        with pytest.raises(UnknownNameError) as caught:
            named("megatron,sdt=1")
        assert str(caught.value) == (
            "unknown option of recipe 'megatron' 'sdt'; did you mean 'std'? Known: embedding_std, std."
        )
        with pytest.raises(UnknownNameError, match="unknown recipe 'gpt3'; did you mean 'gpt2'"):
            options("gpt3")


class TestOverride:
    def test_keys_are_roles_or_patterns_and_come_first(self):
        mine = named("he").override({"bias": Constant(0.5), "head*": Normal(std=0.02)})
        assert mine.choose(BIAS).initializer == Constant(0.5)
        assert mine.choose(tensor("head.weight")).initializer == Normal(std=0.02)
        assert mine.choose(tensor()) == named("he").choose(tensor())
        assert mine.name == "he+override"

    def test_a_module_stands_for_all_in_it(self):
        mine = named("he").override({"lm_head": Constant(0.0)})
        assert mine.choose(tensor("lm_head.weight")).initializer == Constant(0.0)
        assert mine.choose(tensor("lm_head2.weight")).initializer != Constant(0.0)

    def test_a_scheme_takes_the_fans_of_the_operation(self):
        mine = named("he").override({"fc.*": schemes.xavier_uniform})
        assert mine.choose(tensor()).initializer == schemes.xavier_uniform(Axes.linear((64, 256)))

    def test_a_function_of_the_tensor(self):
        mine = named("he").override({"fc.*": lambda tensor: Normal(std=1 / tensor.shape[0])})
        assert mine.choose(tensor()).initializer == Normal(std=1 / 64)

    def test_none_keeps_the_authors_law(self):
        choice = named("he").override({"fc.*": None}).choose(tensor())
        assert choice.initializer is None
        assert (choice.why, choice.source) == ("override of 'fc.*'", "recipe he+override")

    def test_citations_stay(self):
        assert named("he").override({}).choose(tensor()).source == named("he").choose(tensor()).source

    def test_what_is_no_law_is_refused(self):
        with pytest.raises(ArgumentError) as caught:
            named("he").override({"bias": 0.5})
        assert str(caught.value) == (
            "override of 'bias' must be an initializer, a scheme, a function of a TensorInfo or None, got 0.5"
        )

    def test_a_plan_says_what_the_override_kept(self):
        recipe = named("he").override({"0.weight": None, "2.*": Constant(0.25)})
        plan = fanin.plan(one_layer, recipe)
        native = fanin.plan(one_layer, "native")
        assert plan["0.weight"].action == native["0.weight"].action
        assert plan["0.weight"].why == "override of '0.weight'"
        assert plan["2.bias"].initializer == Constant(0.25)
        assert plan["0.bias"].why == "a bias starts at 0"

    def test_a_plan_says_which_keys_found_nothing(self):
        recipe = named("he").override({"0": Constant(0.0), "3.weight": Constant(0.0), "mlp up": None})
        notes = fanin.plan(one_layer, recipe).notes
        assert [note for note in notes if "matches no tensor" in note] == [
            f"the rule for {key!r} of the recipe 'he+override' matches no tensor of this model"
            for key in ("3.weight", "mlp up")
        ]
        mine = Recipe.from_toml('name = "m"\nrules = [{ name = "fc9", role = "bias", law = "constant", value = 0 }]')
        assert (
            "the rule for role = 'bias', name = 'fc9' of the recipe 'm|he' matches no tensor of this model"
            in fanin.plan(one_layer, mine | named("he")).notes
        )


class TestOr:
    def test_the_first_with_a_rule_decides(self):
        heads = Recipe("heads", (Rule(is_called("head*"), lambda _: Constant(0.0), "silent", "my notes"),), version=3)
        both_of = heads | named("he")
        assert both_of.name == "heads|he"
        head, body = both_of.choose(tensor("head.weight")), both_of.choose(tensor())
        assert (head.initializer, head.source) == (Constant(0.0), "recipe heads 3: my notes")
        assert body == named("he").choose(tensor())

    def test_in_a_name(self):
        assert named("ggml-mnist|he").choose(tensor()).initializer == Normal(std=0.01)
        assert named("ggml-mnist | gpt2,std=0.5").choose(tensor(role="embedding")).initializer == Normal(std=0.5)

    def test_three_keep_their_own_citations(self):
        a, b, c = (
            Recipe(name, (Rule(has_role(role), lambda _: Constant(0.0), "w"),), source=f"paper {name}")
            for name, role in (("a", "bias"), ("b", "projection"), ("c", "embedding"))
        )
        joined = a | b | c
        assert [joined.choose(each).source for each in (BIAS, tensor(), tensor(role="embedding"))] == [
            "recipe a 1: paper a",
            "recipe b 1: paper b",
            "recipe c 1: paper c",
        ]
        assert joined.source == "paper a; paper b; paper c"
        assert (joined | joined).choose(BIAS).source == "recipe a 1: paper a"

    def test_native_adds_nothing(self):
        assert (named("native") | named("he")).choose(tensor()) == named("he").choose(tensor())


class TestMatching:
    def test_both_wants_all(self):
        match = both(has_role("projection"), is_called("fc*"))
        assert match(tensor())
        assert not match(tensor("head.weight"))
        assert not match(BIAS)

    def test_rules_that_need_a_side_or_an_activation_refuse_unknown_ones(self):
        from fanin.recipes import beside, followed_by, on_side

        with pytest.raises(UnknownNameError, match="unknown side 'encodr'; did you mean 'encoder'"):
            on_side("encodr")
        with pytest.raises(UnknownNameError, match="unknown activation 'rellu'"):
            followed_by("rellu")
        with pytest.raises(UnknownNameError, match="unknown role 'mlp'"):
            beside("mlp")

    def test_what_each_speaks_about(self):
        from fanin.recipes import beside, followed_by, in_stack, is_last, on_side

        place = Place("encoder.layers", 0, 2, "encoder", 2, 2, 0, 4, 2, True, 64)
        inside = tensor(role="mlp down", place=place)
        scale = TensorInfo("norm.weight", (64,), "float32", "parameter", "norm scale", place=place)
        assert is_last(inside)
        assert not is_last(scale), "a norm's scale is no weight"
        assert not is_last(tensor())
        assert in_stack(scale)
        assert not in_stack(tensor())
        assert on_side("encoder")(scale)
        assert not on_side("decoder")(scale)
        bias = TensorInfo("b", (4,), "float32", "parameter", "bias", partner_role="mlp down")
        assert beside("mlp down")(bias)
        assert not beside("mlp up")(bias)
        assert not beside("mlp down")(inside)
        gelu = TensorInfo(
            "w", (4, 4), "float32", "parameter", "mlp up", (Use("w", "linear", Axes.linear((4, 4)), "gelu"),)
        )
        assert followed_by("gelu", "relu")(gelu)
        assert not followed_by("relu")(gelu)
