"""Packed weights of published models: every block is found where the model's own code takes it."""

import pytest
import torch

from fanin.graph import Part
from fanin.torch.trace import trace

WIDTH, HEADS, HEAD, KV = 64, 8, 8, 2
IDS = torch.arange(8)[None]
SMALL = {"hidden_size": WIDTH, "num_attention_heads": HEADS, "num_hidden_layers": 1, "vocab_size": 100}
MLP = {"intermediate_size": 96, "num_key_value_heads": KV, "pad_token_id": 0}
EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2}


def model(kind, options):
    transformers = pytest.importorskip("transformers")
    config = transformers.AutoConfig.for_model(kind, **options)
    with torch.device("meta"):
        return transformers.AutoModelForCausalLM.from_config(config)


def contiguous(*sizes, width=WIDTH, axis=0):
    """Blocks of these sizes, one behind the other along one dimension of a matrix."""
    starts = [sum(sizes[:place]) for place in range(len(sizes))]
    made = [((start, 0), (size, width)) for start, size in zip(starts, sizes, strict=True)]
    return [Part(*(pair[:: -1 if axis else 1] for pair in part)) for part in made]


def interleaved(*sizes, times, width=WIDTH):
    """Runs of these sizes in turn, that many times."""
    period = sum(sizes)
    starts = [sum(sizes[:place]) for place in range(len(sizes))]
    return [
        Part((start, 0), (size, width), (period, width), (times, 1)) for start, size in zip(starts, sizes, strict=True)
    ]


MODELS = {
    "gpt2": ({"n_layer": 1, "n_embd": 64, "n_head": 8}, "attn.c_attn.weight", contiguous(64, 64, 64, axis=1)),
    "gpt_neox": (SMALL | {"intermediate_size": 96}, "query_key_value.weight", interleaved(8, 8, 8, times=8)),
    "bloom": ({"hidden_size": 64, "n_head": 8, "n_layer": 1}, "query_key_value.weight", interleaved(8, 8, 8, times=8)),
    "falcon, by group": (
        SMALL | {"new_decoder_architecture": True, "num_kv_heads": KV},
        "query_key_value.weight",
        interleaved(32, 8, 8, times=2),
    ),
    "falcon, one key": (
        SMALL | {"multi_query": True, "new_decoder_architecture": False},
        "query_key_value.weight",
        contiguous(64, 8, 8),
    ),
    "codegen": (
        {"n_layer": 1, "n_embd": 64, "n_head": 8, "rotary_dim": 4},
        "qkv_proj.weight",
        interleaved(16, 16, 16, times=4),
    ),
    "phi3": (SMALL | MLP, "qkv_proj.weight", contiguous(64, 16, 16)),
    "phi3, feed-forward": (SMALL | MLP, "gate_up_proj.weight", contiguous(96, 96)),
    "glm": (SMALL | MLP | {"head_dim": 8}, "gate_up_proj.weight", contiguous(96, 96)),
    "mixtral": (
        SMALL | MLP | EXPERTS,
        "experts.gate_up_proj",
        [Part((0, start, 0), (4, 96, 64)) for start in (0, 96)],
    ),
    "gpt_oss": (
        SMALL | MLP | EXPERTS | {"head_dim": 8},
        "experts.gate_up_proj",
        [Part((0, 0, start), (4, 64, 1), (4, 64, 2), (1, 1, 96)) for start in (0, 1)],
    ),
    "gpt_oss, bias": (
        SMALL | MLP | EXPERTS | {"head_dim": 8},
        "experts.gate_up_proj_bias",
        [Part((0, start), (4, 1), (4, 2), (1, 96)) for start in (0, 1)],
    ),
    "mamba": (
        {"hidden_size": 64, "num_hidden_layers": 1, "state_size": 4},
        "in_proj.weight",
        contiguous(128, 128),
    ),
    "mamba, what the input selects": (
        {"hidden_size": 64, "num_hidden_layers": 1, "state_size": 4},
        "x_proj.weight",
        contiguous(4, 4, 4, width=128),
    ),
    "mamba2": (
        {"hidden_size": 64, "num_hidden_layers": 1, "state_size": 4, "num_heads": 16, "head_dim": 8, "n_groups": 2},
        "in_proj.weight",
        contiguous(128, 128, 8, 8, 16),
    ),
    "qwen3_next": (
        SMALL
        | {
            "intermediate_size": 96,
            "num_key_value_heads": KV,
            "head_dim": 8,
            "num_experts": 4,
            "num_experts_per_tok": 2,
        }
        | {"moe_intermediate_size": 16, "linear_num_value_heads": 8, "linear_num_key_heads": 4}
        | {"linear_key_head_dim": 8, "linear_value_head_dim": 8},
        "in_proj_qkvz.weight",
        interleaved(8, 8, 16, 16, times=4),
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_blocks(name):
    options, suffix, expected = MODELS[name]
    graph = trace(model(name.split(",")[0], options), {"input_ids": IDS})
    uses = [use for use in graph.uses if use.tensor.endswith(suffix)]
    assert [use.parts for use in uses] == [(part,) for part in expected]
    if not suffix.endswith("bias"):
        assert all(use.axes.shape == part.joined for use, part in zip(uses, expected, strict=True))
        fans = {use.axes.fan_in for use in uses}
        assert fans == {128.0 if "x_proj" in suffix else 64.0}


def test_what_follows_is_told_block_by_block():
    options, suffix, _ = MODELS["mamba2"]
    graph = trace(model("mamba2", options), {"input_ids": IDS})
    activations = [use.activation for use in graph.uses if use.tensor.endswith(suffix)]
    assert activations == ["silu", "linear", "linear", "linear", "softplus"]


def test_rotary_embeddings_do_not_split_queries():
    graph = trace(model("llama", SMALL | MLP), {"input_ids": IDS})
    assert all(use.parts == () for use in graph.uses)
