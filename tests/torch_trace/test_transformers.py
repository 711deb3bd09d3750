"""Published architectures, small: every matrix with its axes, its role and the activation that follows."""

import time
from collections import Counter

import pytest
import torch

from fanin.graph import role
from fanin.torch.trace import trace

transformers = pytest.importorskip("transformers")

TOKENS = {"vocab_size": 99, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
WIDE = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
LLAMA = WIDE | TOKENS | {"num_key_value_heads": 2}
ATTENTION = tuple(f"attention {part}" for part in ("query", "key", "value", "output"))
GATED = ("mlp up", "mlp gate", "mlp down")


def traced(model, config, **fields):
    with torch.device("meta"):
        made = getattr(transformers, model)(getattr(transformers, config)(**fields))
    return trace(made)


def found(graph):
    """How many tensors of each role, and what follows those with fans."""
    tensors = dict.fromkeys(use.tensor for use in graph.uses)
    return Counter(role("parameter", graph.of(name)) for name in tensors)


def following(graph):
    return Counter(use.activation for use in graph.uses if use.op in ("linear", "conv"))


def test_gpt2():
    fields = {key: TOKENS[key] for key in ("vocab_size", "bos_token_id", "eos_token_id")}
    graph = traced("GPT2LMHeadModel", "GPT2Config", n_layer=2, n_embd=32, n_head=2, **fields)
    attention, mlp = {"packed": 2, "attention output": 2}, {"mlp up": 2, "mlp down": 2}
    assert (
        found(graph) == {"embedding": 1, "position": 1, "bias": 8, "norm scale": 5, "norm shift": 5} | attention | mlp
    )
    assert graph.unreached == ()
    for block in ("transformer.h.0", "transformer.h.1"):
        fans = {
            name: (use.axes.inputs, use.axes.fans, use.activation)
            for name in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
            for use in graph.of(f"{block}.{name}.weight")
        }
        assert fans == {
            "attn.c_attn": ((0,), (32, 32), "linear"),
            "attn.c_proj": ((0,), (32, 32), "linear"),
            "mlp.c_fc": ((0,), (32, 128), "gelu_tanh"),
            "mlp.c_proj": ((0,), (128, 32), "linear"),
        }
    head = graph.of("transformer.wte.weight")
    assert [(use.op, use.axes and use.axes.fans) for use in head] == [("embedding", None), ("linear", (32, 99))]


def test_llama():
    graph = traced("LlamaForCausalLM", "LlamaConfig", **LLAMA)
    assert found(graph) == {"embedding": 1, "norm scale": 5, "head": 1} | dict.fromkeys(ATTENTION + GATED, 2)
    assert following(graph) == {"linear": 13, "silu": 2}
    assert {use.tensor for use in graph.uses if use.activation == "silu"} == {
        "model.layers.0.mlp.gate_proj.weight",
        "model.layers.1.mlp.gate_proj.weight",
    }
    assert graph.unreached == ()


def test_bert():
    graph = traced("BertForMaskedLM", "BertConfig", **WIDE, **TOKENS)
    others = {"embedding": 2, "position": 1, "projection": 1, "bias": 14, "norm scale": 6, "norm shift": 6}
    assert found(graph) == others | dict.fromkeys((*ATTENTION, "mlp up", "mlp down"), 2)
    assert following(graph) == {"linear": 11, "gelu": 3}
    assert graph.unreached == ()


def test_t5():
    fields = {"vocab_size": 99, "d_model": 32, "d_ff": 64, "d_kv": 8, "num_layers": 2, "num_heads": 4}
    graph = traced("T5ForConditionalGeneration", "T5Config", **fields)
    others = {"embedding": 1, "relative position": 2, "mlp up": 4, "mlp down": 4, "norm scale": 12}
    assert found(graph) == others | dict.fromkeys(ATTENTION, 6)
    assert following(graph) == {"linear": 29, "relu": 4}
    assert graph.unreached == ()


def test_resnet():
    graph = traced(
        "ResNetForImageClassification", "ResNetConfig", embedding_size=16, hidden_sizes=[16, 32], depths=[1, 1]
    )
    assert found(graph) == {"convolution": 8, "norm scale": 8, "norm shift": 8, "head": 1, "bias": 1}
    # The last convolution of a block is added to the shortcut; where that passes unchanged, so does its ReLU.
    assert following(graph)["relu"] == 7
    assert graph.unreached == ()


def test_gemma_stores_norm_scales_less_one():
    graph = traced("GemmaForCausalLM", "GemmaConfig", **LLAMA, head_dim=8)
    assert [use.parameter for use in graph.uses if use.op == "norm_scale"] == [1.0] * 5


def test_experts_are_a_batch_dimension():
    graph = traced("MixtralForCausalLM", "MixtralConfig", **LLAMA, num_local_experts=4)
    (use,) = graph.of("model.layers.0.mlp.experts.down_proj")
    assert (use.axes.batch, use.axes.outputs, use.axes.inputs, use.axes.fan_in) == ((0,), (1,), (2,), 64)
    assert graph.of("model.layers.0.mlp.experts.gate_up_proj")[0].activation == "silu"


@pytest.mark.parametrize(
    ("model", "config", "fields"),
    [
        ("ViTForImageClassification", "ViTConfig", WIDE | {"image_size": 32}),
        ("WhisperModel", "WhisperConfig", {"d_model": 48, "encoder_layers": 1, "decoder_layers": 1}),
        ("Wav2Vec2ForCTC", "Wav2Vec2Config", WIDE | {"vocab_size": 30}),
        ("SwinForImageClassification", "SwinConfig", {"embed_dim": 16, "depths": [1, 1], "num_heads": [2, 2]}),
        ("MambaForCausalLM", "MambaConfig", {"vocab_size": 99, "hidden_size": 32, "num_hidden_layers": 1}),
    ],
)
def test_others_are_followed_to_their_end(model, config, fields):
    graph = traced(model, config, **fields)
    assert all(note.startswith("inputs were made up: ") for note in graph.notes)
    assert set(graph.unreached) <= {"wav2vec2.masked_spec_embed"}  # used in training alone


def test_a_model_of_eight_billion_parameters_is_traced_in_a_second():
    fields = {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32}
    with torch.device("meta"):
        config = transformers.LlamaConfig(**fields, num_key_value_heads=8, vocab_size=128256)
        model = transformers.LlamaForCausalLM(config)
    start = time.process_time()
    graph = trace(model)
    assert time.process_time() - start < 5  # of processor time, which neighbours do not stretch; it takes 0.4 s
    assert found(graph) == {"embedding": 1, "norm scale": 65, "head": 1} | dict.fromkeys(ATTENTION + GATED, 32)
    assert following(graph) == {"linear": 193, "silu": 32}
