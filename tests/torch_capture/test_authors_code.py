"""`native` is what the authors' code does, its documented mistakes with the right numbers."""

from __future__ import annotations

from math import log, pi, sqrt

import pytest
import torch
from torch import nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    Dinov2Config,
    Dinov2Model,
    Mamba2Config,
    Mamba2ForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    RwkvConfig,
    RwkvModel,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from fanin.initializers import Constant, Normal, Orthogonal, TruncatedNormal, Uniform
from fanin.initializers.blocks import Blocks
from fanin.torch.capture import capture
from fanin.torch.materialize import materialize

SMALL = {"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 96}
MAMBA = {"hidden_size": 64, "num_hidden_layers": 2, "state_size": 4, "vocab_size": 100}


def laws(model):
    return {name: step.initializer for name, step in capture(model).plan.items()}


def test_siglip_lecun_is_14_percent_wide_and_uncut(agrees_with_constructor):
    make = lambda: SiglipVisionModel(SiglipVisionConfig(**SMALL, image_size=32, patch_size=8))  # noqa: E731
    step = agrees_with_constructor(make).plan["embeddings.patch_embedding.weight"]
    law, fan_in = step.initializer, 3 * 8 * 8
    assert isinstance(law, TruncatedNormal)
    assert step.std * sqrt(fan_in) == pytest.approx(1 / 0.87962566103423978, rel=1e-9)
    assert law.upper == -law.lower == pytest.approx(2 / (1.13685 / sqrt(fan_in)), rel=1e-4)


def test_rwkv_begins_with_ones_where_a_formula_was_meant(agrees_with_constructor):
    make = lambda: RwkvModel(RwkvConfig(hidden_size=64, num_hidden_layers=2, vocab_size=100))  # noqa: E731
    captured = agrees_with_constructor(make)
    plan = captured.plan
    assert plan["blocks.0.attention.time_first"].initializer == Constant(1.0)
    assert plan["blocks.1.feed_forward.key.weight"].initializer == Orthogonal(2.0)
    decay = materialize(captured.model, plan).blocks[1].attention.time_decay
    channel = torch.arange(64) / 63
    assert torch.allclose(decay.detach(), -5 + 8 * channel ** (0.7 + 1.3 * 1), atol=1e-5)


def test_clip_scales_its_queries_by_depth_and_not_its_outputs(agrees_with_constructor):
    make = lambda: CLIPTextModel(CLIPTextConfig(**SMALL, vocab_size=100, eos_token_id=2))  # noqa: E731
    plan = agrees_with_constructor(make).plan
    stds = {name.split(".")[-2]: step.std for name, step in plan.items() if ".1.self_attn" in name and "weight" in name}
    deep = 64**-0.5 * (2 * 3) ** -0.5
    assert stds == {"q_proj": deep, "k_proj": deep, "v_proj": deep, "out_proj": 64**-0.5}
    layer = "encoder.layers.1.mlp"
    found = [step.std for name, step in plan.items() if layer in name and name.endswith("weight")]
    assert found == [(2 * 64) ** -0.5, deep]


def test_mamba_is_wide_and_leaves_its_residual_outputs_as_torch_has_them(agrees_with_constructor):
    make = lambda: MambaForCausalLM(MambaConfig(**MAMBA))  # noqa: E731
    captured = agrees_with_constructor(make)
    plan = captured.plan
    mixer = "backbone.layers.1.mixer."
    wide = ("in_proj.weight", "x_proj.weight")
    assert {plan[mixer + name].initializer for name in wide} == {Normal(std=0.1)}
    assert plan["backbone.embeddings.weight"].initializer == Normal(std=0.1)
    # kaiming_uniform_(a=√5) is U(±1/√fan-in), and nothing divides it by the depth
    assert plan[mixer + "out_proj.weight"].std == pytest.approx(1 / sqrt(3 * 128))
    assert plan[mixer + "dt_proj.weight"].initializer == Uniform(-0.5, 0.5)  # rank⁻¹ᐟ² for a rank of 4
    assert plan[mixer + "D"].initializer == Constant(1.0)
    model = materialize(captured.model, plan, seed=2).backbone.layers[1].mixer
    assert torch.allclose(model.A_log.detach(), torch.arange(1.0, 5.0).log().expand(128, 4))
    steps = nn.functional.softplus(model.dt_proj.bias.detach())
    assert 1e-3 * 0.999 < float(steps.min()) < float(steps.max()) < 0.1 * 1.001
    logs = steps.log()
    assert abs(float(logs.mean()) - (log(1e-3) + log(0.1)) / 2) < 5 * log(100) / sqrt(12 * 128)


def test_mamba_rescales_when_told(agrees_with_constructor):
    make = lambda: MambaForCausalLM(MambaConfig(**MAMBA, rescale_prenorm_residual=True))  # noqa: E731
    plan = agrees_with_constructor(make).plan
    assert plan["backbone.layers.1.mixer.out_proj.weight"].std == pytest.approx(1 / sqrt(3 * 128) / sqrt(2))


def test_mamba2_counts_over_its_heads(agrees_with_constructor):
    make = lambda: Mamba2ForCausalLM(Mamba2Config(**MAMBA, num_heads=16, head_dim=8, n_groups=2))  # noqa: E731
    captured = agrees_with_constructor(make)
    mixer = materialize(captured.model, captured.plan).backbone.layers[0].mixer
    assert torch.allclose(mixer.A_log.detach().exp(), torch.arange(1.0, 17.0))


def test_a_trunc_normal_of_small_std_is_not_cut(agrees_with_constructor):
    make = lambda: Dinov2Model(Dinov2Config(hidden_size=64, num_hidden_layers=1, num_attention_heads=4))  # noqa: E731
    plan = agrees_with_constructor(make).plan
    law = plan["encoder.layer.0.mlp.fc1.weight"].initializer
    assert law == TruncatedNormal.absolute(0.0, 0.02, -2.0, 2.0)
    assert (law.lower, law.upper) == (-100.0, 100.0)
    assert plan["encoder.layer.0.mlp.fc1.weight"].std == pytest.approx(0.02, rel=1e-12)


class Timm(nn.Module):
    """How timm-style models write their own code: a closure over all modules, a helper with a cut of its own."""

    def __init__(self):
        super().__init__()
        self.tokens = nn.Parameter(torch.zeros(1, 1, 48))
        self.positions = nn.Parameter(torch.randn(1, 17, 48) * 0.02)
        self.qkv = nn.Linear(48, 144)
        self.scale = nn.Parameter(1e-5 * torch.ones(48))
        self.heads = nn.ModuleList(nn.Linear(48, 10) for _ in range(2))
        nn.init.trunc_normal_(self.tokens, std=0.02)
        self.apply(self.write)
        for head in self.heads:
            head.weight.data.mul_(0.001)
            nn.init.constant_(head.bias, -log((1 - 0.01) / 0.01))
        with torch.no_grad():
            bound = sqrt(6 / (48 + 48))
            for block in self.qkv.weight.chunk(3):
                nn.init.uniform_(block, -bound, bound)

    @staticmethod
    def write(module):
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=1.0, a=-2.0, b=2.0)
            nn.init.zeros_(module.bias)


def test_code_in_the_style_of_timm(agrees_with_constructor):
    plan = agrees_with_constructor(Timm).plan
    found = {name: step.initializer for name, step in plan.items()}
    assert found["tokens"] == TruncatedNormal.absolute(0.0, 0.02, -2.0, 2.0)
    assert found["positions"] == Normal(std=0.02)
    assert found["heads.1.bias"].value == pytest.approx(-log(99), rel=1e-6)
    assert isinstance(found["qkv.weight"], Blocks)
    assert [size for _, size, _ in found["qkv.weight"].parts] == [(48, 48)] * 3
    assert found["scale"].value == pytest.approx(1e-5, rel=1e-6)
    # A law cut at ±2σ and then scaled is cut at ±2σ still, with the std of the cut law.
    head = plan["heads.0.weight"]
    assert (head.initializer.lower, head.initializer.upper) == (-2.0, 2.0)
    assert head.std == pytest.approx(1e-3 * sqrt(1 - 4 * 0.05399096651318806 / 0.9544997361036416), rel=1e-6)
    assert pytest.approx(2.718281828459045**-2 / sqrt(2 * pi)) == 0.05399096651318806
