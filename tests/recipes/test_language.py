"""Recipes of language models on real ones, and the defects of peers that they do not share."""

from __future__ import annotations

from functools import cache
from math import log, sqrt
from operator import attrgetter

import numpy as np
import pytest
import torch
import transformers
from torch import nn

import fanin
from fanin.axes import Axes
from fanin.errors import ArgumentError
from fanin.graph import Place, Use
from fanin.initializers import Blocks, Constant, Normal, TruncatedNormal, Uniform
from fanin.recipes import TensorInfo, named
from fanin.schemes import lecun_normal, variance_scaling

SMALL = {"vocab_size": 200, "bos_token_id": 1, "eos_token_id": 2}
LLAMA = {"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4, "num_hidden_layers": 3} | SMALL
TOWER = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4, "num_hidden_layers": 8}
RESIDUAL = Place("h", 2, 12, branch=5, branches=24, members=2, last=True, width=64)


def config(name, **fields):
    return transformers.AutoConfig.for_model(name, **fields)


@cache
def captured(cls, name, fields):
    build = attrgetter(cls)(transformers)
    return fanin.capture(lambda: build(config(name, **dict(fields))))


def planned(recipe, cls, name, **fields):
    return fanin.plan(captured(cls, name, tuple(fields.items())), recipe)


def causal(recipe, name="llama", **fields):
    return planned(recipe, "AutoModelForCausalLM.from_config", name, **fields)


def drawn(plan, *tensors):
    """The values that a plan gives some tensors, by materializing nothing but them."""
    from fanin.random import Region, Stream

    out = []
    for name in tensors:
        step = plan[name]
        values = np.empty(step.shape, np.float32)
        step.initializer.fill(values, Stream.named(0, name), Region.whole(step.shape))
        out.append(torch.from_numpy(values))
    return out


def weight(role, shape=(64, 64), place=RESIDUAL, name="w", **use):
    return TensorInfo(
        name, shape, "float32", "parameter", role, (Use(name, "linear", Axes.linear(shape), **use),), place=place
    )


def std_of(step):
    """The std of a law, the row of a padding token left out."""
    law = step.initializer
    return (law.base if isinstance(law, Blocks) else law).moments(step.shape)[1]


class TestAnyModel:
    @pytest.mark.parametrize(
        "name",
        ["gpt2", "megatron", "llama", "llama-depth", "olmo-mitchell", "olmo-megatron", "olmo-normal", "small-init",
         "wang", "bert", "modernbert", "clip", "whisper", "rwkv", "mamba", "mamba2"],
    )  # fmt: skip
    def test_without_a_stack_nothing_is_scaled_and_nothing_fails(self, name):
        plan = fanin.plan(lambda: nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4)), name)
        assert not plan.unknown
        assert plan["0.bias"].std == plan["2.bias"].std == 0

    def test_t5_needs_heads_for_queries_only(self):
        with pytest.raises(ArgumentError, match="nothing shows into how many heads 'w' is split"):
            named("t5").choose(weight("attention query"))
        assert named("t5").choose(weight("attention key")).initializer == Normal(std=1 / 8)

    def test_why_gives_the_numbers(self):
        def why(name):
            return named(name).choose(weight("mlp down", (64, 96))).why

        assert why("gpt2") == "one of 24 outputs that the stream adds up: divided by √24"
        assert why("llama-depth") == "6 outputs are added up by layer 2: divided by their root"
        assert why("wang") == "2/(L·√d) for a residual output of L = 12 layers of width d = 64"
        assert why("small-init") == "√(2/(d + 4d)) for d = 64: Xavier's for the 4 times wider MLP, for all"

    def test_three_branches_a_layer_count_as_three(self):
        place = Place("decoder", 1, 4, "decoder", 4, 4, branch=4, branches=12, last=True, width=64)
        down = weight("mlp down", place=place)
        assert named("gpt2").choose(down).initializer.std == pytest.approx(0.02 / sqrt(12))
        assert named("llama-depth").choose(down).initializer.std == pytest.approx(0.02 / sqrt(6))

    def test_a_padding_row_is_zero(self):
        use = Use("e", "embedding", padding=1)
        table = TensorInfo("e", (9, 4), "float32", "parameter", "embedding", (use,))
        law = named("gpt2").choose(table).initializer
        assert law == Blocks(Normal(std=0.02), (((1, 0), (1, 4), Constant(0.0)),))

    def test_norms_that_add_one_start_at_zero(self):
        plan = causal("llama", "gemma", **(LLAMA | {"head_dim": 16, "num_key_value_heads": 2, "pad_token_id": 0}))
        norms = [step for step in plan.values() if step.role == "norm scale"]
        assert norms
        assert {step.initializer for step in norms} == {Constant(0.0)}


class TestAgreement:
    """Where transformers follows the source the recipe and the model's own code say the same of every tensor."""

    T5 = {"d_model": 64, "d_kv": 8, "num_heads": 4, "d_ff": 96, "num_layers": 2, "vocab_size": 200}.items()
    MODERN = (LLAMA | {"pad_token_id": 0, "cls_token_id": 1, "sep_token_id": 2}).items()

    @pytest.mark.parametrize(
        ("recipe", "cls", "name", "fields"),
        [
            ("gpt2", "GPT2LMHeadModel", "gpt2", {"n_embd": 64, "n_head": 4, "n_layer": 3}.items() | SMALL.items()),
            ("llama", "LlamaForCausalLM", "llama", LLAMA.items()),
            ("llama", "MixtralForCausalLM", "mixtral", LLAMA.items() | {"num_key_value_heads": 2}.items()),
            ("t5", "T5ForConditionalGeneration", "t5", T5),
            ("modernbert", "ModernBertForSequenceClassification", "modernbert", MODERN),
        ],
        ids=["gpt2", "llama", "mixtral", "t5", "modernbert"],
    )
    def test_every_std_is_the_authors(self, recipe, cls, name, fields):
        plan, native = (planned(each, cls, name, **dict(fields)) for each in (recipe, "native"))
        parameters = {name: step for name, step in plan.items() if step.kind == "parameter"}
        stds = [{name: std_of(each[name]) for name in parameters} for each in (plan, native)]
        assert stds[0] == pytest.approx(stds[1], rel=1e-6)
        untold = {name for name, step in parameters.items() if "has no rule" in step.why}
        assert not untold


class TestLlamaDepth:
    def test_residual_outputs_are_attention_output_and_down_alone(self):
        plan = causal("llama-depth", **LLAMA)
        scaled = {step.role for step in plan.values() if step.std and step.std < 0.0145}
        assert scaled == {"attention output", "mlp down"}

    def test_experts_are_scaled_and_their_router_is_not(self):
        down, router = weight("mlp down", (64, 96)), weight("router", (8, 64), Place("h", 2, 12, branches=24, width=64))
        recipe = named("llama-depth,up=true")
        assert recipe.choose(down).initializer.std == pytest.approx(0.02 / sqrt(6))
        assert recipe.choose(router).initializer.std == 0.02, "OLMo-core divides it too"

    def test_a_tied_head_is_drawn_as_a_head(self):
        tied = causal("llama-depth", **LLAMA, tie_word_embeddings=True)["model.embed_tokens.weight"]
        assert tied.initializer == TruncatedNormal(0.0, 1 / 8, -3.0, 3.0, corrected=False)
        untied = causal("llama-depth", **LLAMA)["model.embed_tokens.weight"]
        assert untied.initializer == Normal(std=1.0)

    def test_the_cut_is_at_sigmas_not_at_two(self):
        (values,) = drawn(causal("llama-depth", **LLAMA), "model.layers.0.mlp.gate_proj.weight")
        assert values.abs().max() < 0.06
        assert causal("llama-depth,cutoff=1", **LLAMA)["model.layers.0.mlp.gate_proj.weight"].std < 0.011


class TestBert:
    """METHODS 4, defect 9: `trunc_normal_(std=0.02)` cuts at ±2, which is 100 sigmas."""

    FIELDS = {"hidden_size": 256, "intermediate_size": 512, "num_attention_heads": 4, "num_hidden_layers": 1} | SMALL
    NAME = "bert.encoder.layer.0.intermediate.dense.weight"

    def test_values_are_cut_at_two_sigmas(self):
        plan = planned("bert", "BertForMaskedLM", "bert", **self.FIELDS)
        (values,) = drawn(plan, self.NAME)
        assert values.abs().max() <= 0.04
        assert values.std().item() == pytest.approx(0.0175925, rel=5 * 0.72 / sqrt(2 * values.numel()))

    def test_transformers_and_torch_do_not_cut(self):
        native = planned("native", "BertForMaskedLM", "bert", **self.FIELDS)[self.NAME]
        assert native.initializer == Normal(std=0.02)
        torchs = nn.init.trunc_normal_(torch.empty(512, 256), std=0.02, generator=torch.Generator().manual_seed(0))
        assert torchs.abs().max() > 0.06
        assert torchs.std().item() == pytest.approx(0.02, rel=0.01)

    def test_modernbert_cuts_at_two_and_its_untied_head_is_by_width(self):
        assert named("modernbert").choose(weight("head", (200, 64), Place())).initializer == TruncatedNormal(
            0.0, 1 / 8, -2.0, 2.0, corrected=False
        )


class TestLecun:
    """METHODS 4, defect 1: transformers' `lecun_normal_` is 13.7 % too wide and not cut."""

    def test_output_variance_is_one(self):
        fc = nn.Linear(512, 1024, bias=False)
        for law in (lecun_normal(Axes.linear((1024, 512))), variance_scaling(Axes.linear((1024, 512)))):
            recipe = named("lecun").override({"weight": law})
            fanin.initialize(fc, recipe, inputs=torch.zeros(1, 512))
            std = fc.weight.std().item() * sqrt(512)
            assert std == pytest.approx(1, rel=5 / sqrt(2 * fc.weight.numel()))

    def test_transformers_is_off(self):
        from transformers.initialization import lecun_normal_

        torch.manual_seed(0)
        theirs = nn.Linear(512, 1024)
        lecun_normal_(theirs.weight)
        assert theirs.weight.std().item() * sqrt(512) > 1.12


class TestClip:
    """METHODS 4, defect 3: transformers divides queries, keys and values by √(2·layers), OpenAI the outputs."""

    def plan(self, recipe):
        made = transformers.CLIPConfig(
            text_config=TOWER | SMALL, vision_config=TOWER | {"image_size": 32, "patch_size": 8}, projection_dim=48
        )
        inputs = {"input_ids": torch.ones(2, 7, dtype=torch.long), "pixel_values": torch.zeros(2, 3, 32, 32)}
        return fanin.plan(lambda: transformers.CLIPModel(made), recipe, inputs)

    def test_outputs_are_divided_not_queries(self):
        plan, native = self.plan("clip"), self.plan("native")
        for tower in ("text_model", "vision_model"):
            for which in "qkv":
                name = f"{tower}.encoder.layers.0.self_attn.{which}_proj.weight"
                assert plan[name].std == pytest.approx(1 / 8)
                assert native[name].std == pytest.approx(1 / 32)
            out = f"{tower}.encoder.layers.3.self_attn.out_proj.weight"
            assert plan[out].std == pytest.approx(1 / 32)
            assert native[out].std == pytest.approx(1 / 8)
            assert plan[f"{tower}.encoder.layers.3.mlp.fc2.weight"].std == pytest.approx(1 / 32)
            assert plan[f"{tower}.encoder.layers.3.mlp.fc1.weight"].std == pytest.approx(1 / sqrt(128))

    def test_tables_and_projections(self):
        plan = self.plan("clip")
        assert plan["text_model.embeddings.token_embedding.weight"].std == pytest.approx(0.02, rel=0.01)
        assert plan["text_model.embeddings.position_embedding.weight"].std == pytest.approx(0.01)
        assert plan["vision_model.embeddings.position_embedding.weight"].std == pytest.approx(1 / 8)
        assert plan["vision_model.embeddings.class_embedding"].std == pytest.approx(1 / 8)
        assert plan["text_projection.weight"].std == plan["visual_projection.weight"].std == pytest.approx(1 / 8)
        patch = plan["vision_model.embeddings.patch_embedding.weight"].initializer
        assert isinstance(patch, Uniform)
        assert patch.high == pytest.approx(1 / sqrt(3 * 8 * 8))
        assert plan["logit_scale"].action == self.plan("native")["logit_scale"].action


class TestWhisper:
    FIELDS = {"d_model": 64, "encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 96, "decoder_ffn_dim": 96,
              "encoder_attention_heads": 4, "decoder_attention_heads": 4, "pad_token_id": 0,
              "decoder_start_token_id": 3} | SMALL  # fmt: skip

    def test_sinusoids_of_the_encoder_stay(self):
        plan = planned("whisper", "WhisperForConditionalGeneration", "whisper", **self.FIELDS)
        native = planned("native", "WhisperForConditionalGeneration", "whisper", **self.FIELDS)
        name = "model.encoder.embed_positions.weight"
        assert plan[name].action == native[name].action
        assert plan[name].why == "fixed sinusoids, which are not trained"
        assert plan["model.decoder.embed_positions.weight"].initializer == Normal(std=0.02)
        assert plan["model.encoder.conv1.weight"].initializer == Normal(std=0.02)


class TestT5:
    def test_an_untied_head_gives_logits_of_unit_variance(self):
        choice = named("t5").choose(weight("head", (200, 64)))
        assert choice.initializer == Normal(std=1 / 8)
        assert "transformers draws an untied head with std 1" in choice.why

    def test_gated_mlp_and_its_down_projection(self):
        fields = {"d_model": 64, "d_kv": 8, "num_heads": 4, "d_ff": 96, "num_layers": 1, "vocab_size": 200}
        plan = planned("t5", "T5ForConditionalGeneration", "t5", **fields, feed_forward_proj="gated-gelu")
        mlp = "encoder.block.0.layer.1.DenseReluDense."
        assert [plan[f"{mlp}{name}.weight"].std for name in ("wi_0", "wi_1", "wo")] == pytest.approx(
            [1 / 8, 1 / 8, 1 / sqrt(96)]
        )


class TestRwkv:
    """METHODS 4, defect 2: transformers stores 1.0 in every `time_first`."""

    FIELDS = {"hidden_size": 64, "attention_hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 4} | SMALL
    BLOCK = "rwkv.blocks.1."

    def plan(self, recipe="rwkv"):
        return planned(recipe, "RwkvForCausalLM", "rwkv", **self.FIELDS)

    def test_time_first_is_the_zigzag(self):
        plan = self.plan()
        (values,) = drawn(plan, self.BLOCK + "attention.time_first")
        zigzag = torch.tensor([(i + 1) % 3 - 1 for i in range(64)]) * 0.5
        torch.testing.assert_close(values, log(0.3) + zigzag)
        made = transformers.RwkvForCausalLM(config("rwkv", **self.FIELDS))
        assert made.rwkv.blocks[1].attention.time_first.eq(1).all(), "transformers has mended its parenthesis"

    def test_rates_are_those_of_the_formulas(self):
        plan, share = self.plan(), torch.arange(64) / 64
        decay, key, value, gate, late = drawn(
            plan,
            *(self.BLOCK + f"attention.time_{name}" for name in ("decay", "mix_key", "mix_value", "mix_receptance")),
            self.BLOCK + "feed_forward.time_mix_receptance",
        )
        torch.testing.assert_close(decay, -5 + 8 * (torch.arange(64) / 63) ** (0.7 + 1.3 / 3))
        torch.testing.assert_close(key[0, 0], share**0.75)
        torch.testing.assert_close(value[0, 0], share**0.75 + 0.3 / 3)
        torch.testing.assert_close(gate[0, 0], share**0.375)
        torch.testing.assert_close(late[0, 0], share**0.75)

    def test_a_block_is_the_identity_and_the_rest_orthogonal(self):
        plan = self.plan()
        for name in ("attention.output", "attention.receptance", "attention.key", "feed_forward.value"):
            assert plan[f"{self.BLOCK}{name}.weight"].initializer == Constant(0.0)
        value, key = drawn(plan, self.BLOCK + "attention.value.weight", self.BLOCK + "feed_forward.key.weight")
        torch.testing.assert_close(value @ value.T, torch.eye(64), atol=1e-5, rtol=0)
        torch.testing.assert_close(key.T @ key, 4 * torch.eye(64), atol=1e-5, rtol=0)
        (table, head) = drawn(plan, "rwkv.embeddings.weight", "head.weight")
        torch.testing.assert_close(table.T @ table, 200e-8 * torch.eye(64), atol=1e-10, rtol=0)
        torch.testing.assert_close(head.T @ head, 0.25 * 200 / 64 * torch.eye(64), atol=1e-5, rtol=0)


class TestMamba:
    """METHODS 4, defect 4: transformers draws every matrix of Mamba from N(0, 0.1²) and divides no output."""

    FIELDS = {"hidden_size": 256, "num_hidden_layers": 4, "pad_token_id": 0} | SMALL
    MIXER = "backbone.layers.2.mixer."

    def test_matrices_are_torchs_and_outputs_divided(self):
        plan = planned("mamba", "MambaForCausalLM", "mamba", **self.FIELDS)
        native = planned("native", "MambaForCausalLM", "mamba", **self.FIELDS)
        assert plan[self.MIXER + "in_proj.weight"].std == pytest.approx(1 / sqrt(3 * 256))
        assert plan[self.MIXER + "in_proj.weight"].std == pytest.approx(0.0361, rel=1e-3)
        assert native[self.MIXER + "in_proj.weight"].std == pytest.approx(0.1)
        out = self.MIXER + "out_proj.weight"
        assert plan[out].std == pytest.approx(native[out].std / sqrt(4))

    def test_state_space_parameters(self):
        plan = planned("mamba", "MambaForCausalLM", "mamba", **self.FIELDS)
        decay, step, skip = drawn(plan, *(self.MIXER + name for name in ("A_log", "dt_proj.bias", "D")))
        torch.testing.assert_close(decay.exp(), torch.arange(1.0, 17).expand(512, 16))
        time = nn.functional.softplus(step)
        assert 0.001 <= time.min().item() < 0.0011
        assert 0.09 < time.max().item() <= 0.1
        spread = torch.log(time / 0.001) / log(100)
        assert spread.mean().item() == pytest.approx(0.5, abs=5 / sqrt(12 * 512))
        assert skip.eq(1).all()

    def test_mamba2_draws_its_decay(self):
        fields = self.FIELDS | {"num_heads": 32, "head_dim": 16, "state_size": 16, "n_groups": 1}
        plan = planned("mamba2", "Mamba2ForCausalLM", "mamba2", **fields)
        decay, step = drawn(plan, self.MIXER + "A_log", self.MIXER + "dt_bias")
        assert decay.exp().min() >= 1
        assert decay.exp().max() <= 16
        assert decay.exp().mean().item() == pytest.approx(8.5, abs=5 * 15 / sqrt(12 * 32))
        assert (nn.functional.softplus(step) >= 0.000999).all()
        ranges = planned("mamba2,a_min=2,a_max=3,dt_min=0.01,dt_max=0.02", "Mamba2ForCausalLM", "mamba2", **fields)
        decay, step = drawn(ranges, self.MIXER + "A_log", self.MIXER + "dt_bias")
        assert 2 <= decay.exp().min() <= decay.exp().max() <= 3.00001
        time = nn.functional.softplus(step)
        assert 0.00999 <= time.min() <= time.max() <= 0.02001

    def test_materialized_models_run(self):
        model = transformers.MambaForCausalLM(config("mamba", **(self.FIELDS | {"hidden_size": 32})))
        fanin.initialize(model, "mamba")
        assert model(torch.ones(1, 5, dtype=torch.long)).logits.isfinite().all()


class TestOlmo:
    def test_attention_output_counts_the_width_not_its_inputs(self):
        out = weight("attention output", (64, 32), Place("h", 3, 8, branch=6, branches=16, last=True, width=64))
        assert named("olmo-mitchell").choose(out).initializer.std == pytest.approx(1 / sqrt(2 * 64 * 4))

    def test_biases_and_norms_are_plain(self):
        plan = causal("olmo-mitchell", "olmo", **(LLAMA | {"attention_bias": True, "pad_token_id": 0}))
        assert {step.initializer for step in plan.values() if step.role == "bias"} == {Constant(0.0)}
