"""Published architectures, small: which weights end residual branches, and what attention and MLPs are made of."""

import re
from collections import Counter
from pathlib import Path

import pytest
import torch

from fanin import models
from fanin.graph import role
from fanin.torch.trace import trace

transformers = pytest.importorskip("transformers")

TOKENS = {"vocab_size": 99, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
WIDE = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
LLAMA = WIDE | TOKENS | {"num_key_value_heads": 2}
SEQ2SEQ = {
    f"{side}_{key}": size
    for side in ("encoder", "decoder")
    for key, size in (("layers", 2), ("attention_heads", 4), ("ffn_dim", 64))
}
# Model, config, its fields.
MODELS = {
    "gpt2": ("GPT2LMHeadModel", "GPT2Config", {"n_layer": 2, "n_embd": 32, "n_head": 4, "vocab_size": 99}),
    "llama": ("LlamaForCausalLM", "LlamaConfig", LLAMA),
    "bert": ("BertForMaskedLM", "BertConfig", WIDE | TOKENS),
    "t5": (
        "T5ForConditionalGeneration",
        "T5Config",
        {"vocab_size": 99, "d_model": 32, "d_ff": 64, "d_kv": 8, "num_layers": 2, "num_heads": 4},
    ),
    "resnet50": (
        "ResNetForImageClassification",
        "ResNetConfig",
        {"embedding_size": 8, "hidden_sizes": [16, 32, 64, 128]},
    ),
    "vit": ("ViTForImageClassification", "ViTConfig", WIDE | {"image_size": 32}),
    "swin": ("SwinForImageClassification", "SwinConfig", {"embed_dim": 16, "depths": [1, 2], "num_heads": [2, 4]}),
    "convnext": (
        "ConvNextForImageClassification",
        "ConvNextConfig",
        {"hidden_sizes": [8, 16], "depths": [1, 2], "num_stages": 2},
    ),
    "mamba": ("MambaForCausalLM", "MambaConfig", {"vocab_size": 99, "hidden_size": 32, "num_hidden_layers": 2}),
    "mixtral": ("MixtralForCausalLM", "MixtralConfig", LLAMA | {"num_local_experts": 4}),
    "gpt-neox": ("GPTNeoXForCausalLM", "GPTNeoXConfig", WIDE | TOKENS),
    "whisper": ("WhisperForConditionalGeneration", "WhisperConfig", {"d_model": 32} | SEQ2SEQ),
    "clip": (
        "CLIPModel",
        "CLIPConfig",
        {"text_config": WIDE, "vision_config": WIDE | {"image_size": 32, "patch_size": 8}},
    ),
    "gemma2": ("Gemma2ForCausalLM", "Gemma2Config", LLAMA | {"head_dim": 8}),
    "falcon": (
        "FalconForCausalLM",
        "FalconConfig",
        {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 99},
    ),
    "cohere": ("CohereForCausalLM", "CohereConfig", LLAMA),
    "phi3": ("Phi3ForCausalLM", "Phi3Config", LLAMA),
    "deepseek-v3": (
        "DeepseekV3ForCausalLM",
        "DeepseekV3Config",
        WIDE
        | TOKENS
        | {"n_routed_experts": 4, "n_group": 2, "topk_group": 1, "num_experts_per_tok": 2, "kv_lora_rank": 8}
        | {"q_lora_rank": 8, "qk_rope_head_dim": 4, "qk_nope_head_dim": 8, "v_head_dim": 8}
        | {"moe_intermediate_size": 16, "first_k_dense_replace": 1},
    ),
    "dinov2": (
        "Dinov2ForImageClassification",
        "Dinov2Config",
        {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 28},
    ),
    "rwkv": (
        "RwkvForCausalLM",
        "RwkvConfig",
        {"vocab_size": 99, "hidden_size": 32, "num_hidden_layers": 2, "attention_hidden_size": 32},
    ),
}
# The last weights of residual branches, numbers left out → how many; and last norm scales after "norms".
LASTS = {
    "gpt2": {"transformer.h.#.attn.c_proj": 2, "transformer.h.#.mlp.c_proj": 2},
    "llama": {"model.layers.#.self_attn.o_proj": 2, "model.layers.#.mlp.down_proj": 2},
    "bert": {"bert.encoder.layer.#.attention.output.dense": 2, "bert.encoder.layer.#.output.dense": 2},
    "t5": {
        "encoder.block.#.layer.#.SelfAttention.o": 2,
        "encoder.block.#.layer.#.DenseReluDense.wo": 2,
        "decoder.block.#.layer.#.SelfAttention.o": 2,
        "decoder.block.#.layer.#.EncDecAttention.o": 2,
        "decoder.block.#.layer.#.DenseReluDense.wo": 2,
    },
    # Shortcuts have projections of their own (four here), which end no branch.
    "resnet50": {
        "resnet.encoder.stages.#.layers.#.layer.#.convolution": 16,
        "resnet.encoder.stages.#.layers.#.layer.#.normalization": 16,
    },
    "vit": {"vit.layers.#.attention.o_proj": 2, "vit.layers.#.mlp.fc#": 2},
    "swin": {"swin.encoder.layers.#.blocks.#.attention.o_proj": 3, "swin.encoder.layers.#.blocks.#.mlp.fc#": 3},
    "convnext": {"convnext.encoder.stages.#.layers.#.pwconv#": 3},
    "mamba": {"backbone.layers.#.mixer.out_proj": 2},
    "mixtral": {"model.layers.#.self_attn.o_proj": 2, "model.layers.#.mlp.experts.down_proj": 2},
    "gpt-neox": {"gpt_neox.layers.#.attention.dense": 2, "gpt_neox.layers.#.mlp.dense_#h_to_h": 2},
    "whisper": {
        "model.encoder.layers.#.self_attn.out_proj": 2,
        "model.encoder.layers.#.fc#": 2,
        "model.decoder.layers.#.self_attn.out_proj": 2,
        "model.decoder.layers.#.encoder_attn.out_proj": 2,
        "model.decoder.layers.#.fc#": 2,
    },
    "clip": {
        f"{side}_model.encoder.layers.#.{last}": 2
        for side in ("text", "vision")
        for last in ("self_attn.out_proj", "mlp.fc#")
    },
    # A norm stands between the weight and the sum.
    "gemma2": {
        "model.layers.#.self_attn.o_proj": 2,
        "model.layers.#.post_attention_layernorm": 2,
        "model.layers.#.mlp.down_proj": 2,
        "model.layers.#.post_feedforward_layernorm": 2,
    },
    "falcon": {"transformer.h.#.self_attention.dense": 2, "transformer.h.#.mlp.dense_#h_to_h": 2},
    "cohere": {"model.layers.#.self_attn.o_proj": 2, "model.layers.#.mlp.down_proj": 2},
    "phi3": {"model.layers.#.self_attn.o_proj": 2, "model.layers.#.mlp.down_proj": 2},
    "deepseek-v3": {
        "model.layers.#.self_attn.o_proj": 2,
        "model.layers.#.mlp.down_proj": 1,
        "model.layers.#.mlp.experts.down_proj": 1,
        "model.layers.#.mlp.shared_experts.down_proj": 1,
    },
    "dinov2": {"dinov#.encoder.layer.#.attention.o_proj": 2, "dinov#.encoder.layer.#.mlp.fc#": 2},
    "rwkv": {"rwkv.blocks.#.attention.output": 2, "rwkv.blocks.#.feed_forward.value": 2},
    # What sets the gates of a branch from the condition ends none.
    "dit": {"blocks.#.attn.proj": 2, "blocks.#.mlp.#": 2},
}
APART = {f"attention {part}": 2 for part in ("query", "key", "value", "output")}
QKV = list(APART)[:3]
JOINED = {"packed": 2, "attention output": 2}
MLP = {"mlp up": 2, "mlp down": 2}
GATED = MLP | {"mlp gate": 2}
# Roles of all weights: what the model has besides biases and norms.
ROLES = {
    "gpt2": JOINED | MLP | {"embedding": 1, "position": 1},
    "llama": APART | GATED | {"embedding": 1, "head": 1},
    "bert": APART | MLP | {"embedding": 2, "position": 1, "projection": 1},
    "t5": dict.fromkeys(APART, 6) | {"mlp up": 4, "mlp down": 4, "embedding": 1, "relative position": 2},
    "resnet50": {"convolution": 53, "head": 1},
    "vit": APART | MLP | {"convolution": 1, "token": 1, "position": 1, "head": 1},
    "swin": dict.fromkeys(APART, 3)
    | {"mlp up": 3, "mlp down": 3, "relative position": 3, "convolution": 1, "projection": 1, "head": 1},
    "convnext": {"mlp up": 3, "mlp down": 3, "layer scale": 3, "convolution": 5, "head": 1},
    "mamba": {
        "projection": 8,
        "convolution": 2,
        "state-space A": 2,
        "state-space D": 2,
        "time step": 2,
        "embedding": 1,
    },
    "mixtral": APART | {"packed": 2, "mlp down": 2, "router": 2, "embedding": 1, "head": 1},
    "gpt-neox": JOINED | MLP | {"embedding": 1, "head": 1},
    "whisper": dict.fromkeys(APART, 6) | {"mlp up": 4, "mlp down": 4, "convolution": 2, "embedding": 1, "position": 2},
    "clip": dict.fromkeys(APART, 4)
    | {"mlp up": 4, "mlp down": 4, "convolution": 1, "token": 1, "embedding": 1, "position": 2, "projection": 2}
    | {"scale": 1},
    "gemma2": APART | GATED | {"embedding": 1},
    "falcon": JOINED | MLP | {"embedding": 1},
    "cohere": APART | GATED | {"embedding": 1},
    "phi3": {"packed": 4, "attention output": 2, "mlp down": 2, "embedding": 1, "head": 1},
    "deepseek-v3": {
        "projection": 2,
        "attention query": 2,
        "attention output": 2,
        "router": 1,
        "head": 1,
        "embedding": 1,
    }
    | {"packed": 5, "mlp gate": 2, "mlp up": 2, "mlp down": 3},
    "dinov2": APART | MLP | {"layer scale": 4, "convolution": 1, "token": 1, "position": 1, "head": 1},
    "rwkv": MLP | {"projection": 10, "scale": 10, "state-space A": 2, "state-space D": 2, "embedding": 1, "head": 1},
    "dit": JOINED | MLP | {"modulation": 3, "convolution": 1, "embedding": 1, "projection": 2, "head": 1},
}
_PLAIN = {"bias", "norm scale", "norm shift"}
_WRITTEN_OUT = Path(__file__).parents[2] / "docs" / "recipes" / "models.py"


@pytest.fixture(scope="module")
def traced():
    known = {}

    def get(name):
        if name not in known:
            with torch.device("meta"):
                made = built(name)
            known[name] = trace(made)
        return known[name]

    return get


def built(name):
    if name not in MODELS:
        return models.factory(f"{_WRITTEN_OUT}:{name}")()
    model, config, fields = MODELS[name]
    return getattr(transformers, model)(getattr(transformers, config)(**fields))


def plain(name):
    return re.sub(r"\d+", "#", name.removesuffix(".weight"))


@pytest.mark.parametrize("name", LASTS)
def test_residual_outputs_and_no_others(traced, name):
    lasts = Counter(plain(tensor) for tensor, place in traced(name).places.items() if place.last)
    assert lasts == LASTS[name]


@pytest.mark.parametrize("name", ROLES)
def test_roles(traced, name):
    graph = traced(name)
    tensors = dict.fromkeys(use.tensor for use in graph.uses)
    roles = Counter(role("parameter", graph.of(tensor)) for tensor in tensors)
    assert {name: count for name, count in roles.items() if name not in _PLAIN} == ROLES[name]


@pytest.mark.parametrize(
    ("name", "tensor", "heads"),
    [
        ("llama", "model.layers.0.self_attn.q_proj.weight", [4]),
        ("llama", "model.layers.0.self_attn.k_proj.weight", [2]),
        ("llama", "model.layers.0.self_attn.o_proj.weight", [4]),
        ("gpt2", "transformer.h.1.attn.c_attn.weight", [4, 4, 4]),
        ("phi3", "model.layers.1.self_attn.qkv_proj.weight", [4, 2, 2]),
        ("falcon", "transformer.h.0.self_attention.query_key_value.weight", [4, 1, 1]),
        ("swin", "swin.encoder.layers.1.blocks.0.attention.v_proj.weight", [4]),
    ],
)
def test_heads(traced, name, tensor, heads):
    assert [use.heads for use in traced(name).of(tensor)] == heads


@pytest.mark.parametrize(
    ("name", "tensor", "blocks"),
    [
        ("gpt2", "transformer.h.0.attn.c_attn.weight", QKV),
        ("gpt-neox", "gpt_neox.layers.0.attention.query_key_value.weight", QKV),
        ("phi3", "model.layers.0.mlp.gate_up_proj.weight", ["mlp gate", "mlp up"]),
        ("mixtral", "model.layers.0.mlp.experts.gate_up_proj", ["mlp gate", "mlp up"]),
        ("deepseek-v3", "model.layers.0.self_attn.kv_b_proj.weight", ["attention key", "attention value"]),
        ("deepseek-v3", "model.layers.0.self_attn.kv_a_proj_with_mqa.weight", ["", "attention key"]),
    ],
)  # fmt: skip
def test_blocks_of_packed_weights_have_their_own_roles(traced, name, tensor, blocks):
    assert [use.role for use in traced(name).of(tensor)] == blocks


@pytest.mark.parametrize(
    ("name", "activation"), [("llama", "silu"), ("phi3", "silu"), ("mixtral", "silu"), ("gemma2", "gelu_tanh")]
)
def test_a_gate_is_followed_by_its_nonlinearity_and_up_by_a_product(traced, name, activation):
    found = {(use.role, use.activation) for use in traced(name).uses if use.role.startswith("mlp")}
    assert found == {("mlp gate", activation), ("mlp up", "linear"), ("mlp down", "linear")}


def place(graph, tensor):
    found = graph.places[tensor]
    return found.stack, found.layer, found.layers, found.branch, found.branches, found.members, found.width


@pytest.mark.parametrize(
    ("name", "tensor", "expected"),
    [
        ("gpt2", "transformer.h.1.mlp.c_fc.weight", ("transformer.h", 1, 2, 3, 4, 2, 32)),
        ("gpt2", "transformer.h.0.ln_2.weight", ("transformer.h", 0, 2, 1, 4, 2, 32)),
        ("gpt2", "transformer.wte.weight", ("", None, 0, None, 0, 0, 0)),
        ("resnet50", "resnet.encoder.stages.1.layers.0.layer.1.convolution.weight",
         ("resnet.encoder.stages.layers", 3, 16, 3, 16, 3, 32)),
        ("resnet50", "resnet.encoder.stages.1.layers.0.shortcut.convolution.weight",
         ("resnet.encoder.stages.layers", 3, 16, None, 0, 0, 0)),
        ("swin", "swin.encoder.layers.1.blocks.0.mlp.fc1.weight", ("swin.encoder.layers.blocks", 1, 3, 3, 6, 2, 32)),
        ("t5", "decoder.block.1.layer.1.EncDecAttention.k.weight", ("decoder.block", 1, 2, 4, 6, 2, 32)),
        ("gpt-neox", "gpt_neox.layers.1.attention.dense.weight", ("gpt_neox.layers", 1, 2, 2, 4, 2, 32)),
        ("gpt-neox", "gpt_neox.layers.1.mlp.dense_4h_to_h.weight", ("gpt_neox.layers", 1, 2, 3, 4, 2, 32)),
        ("deepseek-v3", "model.layers.1.mlp.shared_experts.up_proj.weight", ("model.layers", 1, 2, 3, 4, 2, 32)),
        ("deepseek-v3", "model.layers.1.mlp.gate.weight", ("model.layers", 1, 2, 3, 4, 2, 32)),
        ("dinov2", "dinov2.encoder.layer.1.mlp.fc1.weight", ("dinov2.encoder.layer", 1, 2, 3, 4, 2, 32)),
    ],
)  # fmt: skip
def test_places(traced, name, tensor, expected):
    assert place(traced(name), tensor) == expected


@pytest.mark.parametrize(("name", "beside"), [("t5", {"shared.weight": ""}), ("whisper", {})])
def test_sides_in_layers_and_around_them(traced, name, beside):
    graph = traced(name)
    names = {tensor: tensor.removeprefix("model.").split(".")[0] for tensor in graph.places}
    assert {tensor: place.side for tensor, place in graph.places.items()} == names | beside
    assert {(place.encoder_layers, place.decoder_layers) for place in graph.places.values()} == {(2, 2)}


@pytest.mark.parametrize("name", ["gpt2", "bert", "clip", "swin"])
def test_one_sided_models_have_no_sides(traced, name):
    assert {(place.side, place.encoder_layers) for place in traced(name).places.values()} == {("", 0)}
