"""Tiny models of transformers: the plan is what the library draws, and complete."""

from __future__ import annotations

import pytest
import torch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    ResNetConfig,
    ResNetForImageClassification,
    T5Config,
    T5ForConditionalGeneration,
    ViTConfig,
    ViTForImageClassification,
    WhisperConfig,
    WhisperForConditionalGeneration,
)

from fanin.initializers import Normal
from fanin.plans.steps import Replay
from fanin.torch.capture import capture
from fanin.torch.materialize import materialize

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
MODELS = {
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=2, n_head=4, vocab_size=100, n_positions=20)),
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SMALL, num_key_value_heads=2, vocab_size=100)),
    "bert": lambda: BertForMaskedLM(BertConfig(**SMALL, vocab_size=100, max_position_embeddings=20)),
    "t5": lambda: T5ForConditionalGeneration(T5Config(vocab_size=100, d_model=32, d_kv=8, d_ff=48, num_layers=2)),
    "vit": lambda: ViTForImageClassification(ViTConfig(**SMALL, image_size=16, patch_size=4)),
    "mamba": lambda: MambaForCausalLM(MambaConfig(hidden_size=32, num_hidden_layers=2, vocab_size=100, state_size=4)),
    "resnet": lambda: ResNetForImageClassification(
        ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
    ),
    "whisper": lambda: WhisperForConditionalGeneration(
        WhisperConfig(d_model=32, encoder_layers=1, decoder_layers=1, encoder_ffn_dim=48, decoder_ffn_dim=48,
                      encoder_attention_heads=4, decoder_attention_heads=4, vocab_size=200, max_source_positions=20,
                      max_target_positions=20, pad_token_id=5, bos_token_id=6, eos_token_id=7,
                      decoder_start_token_id=8)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_plan_is_what_transformers_draws(name, agrees_with_constructor):
    agrees_with_constructor(MODELS[name])


def test_gpt2_scales_its_residual_projections(agrees_with_constructor):
    plan = agrees_with_constructor(MODELS["gpt2"]).plan
    assert plan["transformer.h.0.attn.c_proj.weight"].initializer == Normal(std=0.02 / (2 * 2) ** 0.5)
    assert plan["transformer.wte.weight"].aliases == ("lm_head.weight",)
    assert "normal_" in plan["transformer.h.0.attn.c_attn.weight"].why


def test_llama_computes_its_frequencies(agrees_with_constructor):
    step = agrees_with_constructor(MODELS["llama"]).plan["model.rotary_emb.inv_freq"]
    assert isinstance(step.action, Replay)
    assert not step.persistent
    assert step.source.startswith("transformers.models.llama.modeling_llama:")


TOKENS = torch.arange(1, 9).reshape(1, 8)
PIXELS = torch.linspace(-1, 1, 3 * 16 * 16).reshape(1, 3, 16, 16)
INPUTS = {
    "gpt2": {"input_ids": TOKENS},
    "llama": {"input_ids": TOKENS},
    "bert": {"input_ids": TOKENS},
    "t5": {"input_ids": TOKENS, "decoder_input_ids": TOKENS},
    "vit": {"pixel_values": PIXELS},
    "mamba": {"input_ids": TOKENS},
    "resnet": {"pixel_values": PIXELS},
    "whisper": {"input_features": torch.linspace(-1, 1, 80 * 40).reshape(1, 80, 40), "decoder_input_ids": TOKENS},
}


@pytest.mark.parametrize("name", MODELS)
def test_the_captured_and_the_constructed_model_get_the_same_bits_and_run(name):
    captured = capture(MODELS[name])
    ours = materialize(captured.model, captured.plan, seed=5).eval()
    theirs = materialize(MODELS[name](), captured.plan, seed=5).eval()
    values = theirs.state_dict()
    assert ours.state_dict().keys() == values.keys()
    assert all(torch.equal(tensor, values[key]) for key, tensor in ours.state_dict().items())
    assert all(torch.equal(tensor, dict(theirs.named_buffers())[key]) for key, tensor in ours.named_buffers())
    with torch.no_grad():
        first, second = ours(**INPUTS[name]).logits, theirs(**INPUTS[name]).logits
    assert bool(first.isfinite().all())
    assert float(first.std()) > 0
    assert torch.equal(first, second)
