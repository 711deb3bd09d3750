"""Decoders: equal to transformers' own, causal, the published numbers of parameters, options, errors."""

import pytest
import torch
from torch import nn

import fanin
from fanin import ArgumentError, UnknownNameError
from fanin.models.layers.attention import Attention
from fanin.models.layers.experts import Experts
from fanin.models.layers.feedforward import GATED, feedforward
from fanin.models.layers.rotary import Rotary
from fanin.models.presets_table import PRESETS
from fanin.models.transformer import transformer

TOKENS = torch.randint(50, (2, 12), generator=torch.Generator().manual_seed(0))
LLAMA = {"norm": "rms", "activation": "swiglu", "position": "rotary", "tied": False, "bias": False}


def parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


def on_meta(spec):
    with torch.device("meta"):
        return fanin.models.build(spec)


@pytest.mark.parametrize(
    ("name", "published"),
    [(f"gpt2-{size}", preset.parameters) for size, preset in PRESETS["gpt2"].items()]
    + [("llama3-8b", PRESETS["llama"]["8b"].parameters), ("llama2-7b", 6_738_415_616)],
)
def test_published_parameter_counts(name, published):
    model = on_meta(name)
    assert parameters(model) == fanin.count(model, torch.zeros(1, 2, dtype=torch.long)).parameters == published


def test_as_many_parameters_as_llama_of_the_same_fields():
    pytest.importorskip("transformers")
    theirs = on_meta(
        "hf:llama,num_hidden_layers=3,hidden_size=48,num_attention_heads=6,num_key_value_heads=2,vocab_size=70,"
        "intermediate_size=88"
    )
    assert parameters(transformer(70, 48, 3, 6, kv_heads=2, hidden=88, **LLAMA)) == parameters(theirs)


LLAMA_NAMES = {
    "model.embed_tokens": "embedding",
    "model.norm": "norm",
    "lm_head": "head",
    "model.layers": "blocks",
    "input_layernorm": "attention_norm",
    "post_attention_layernorm": "feedforward_norm",
    "self_attn.q_proj": "attention.query",
    "self_attn.k_proj": "attention.key",
    "self_attn.v_proj": "attention.value",
    "self_attn.o_proj": "attention.output",
    "mlp.gate_proj": "feedforward.gate",
    "mlp.up_proj": "feedforward.up",
    "mlp.down_proj": "feedforward.down",
}


def renamed(name):
    for theirs, ours in LLAMA_NAMES.items():
        name = name.replace(theirs, ours)
    return name


def test_the_logits_of_llama():
    pytest.importorskip("transformers")
    theirs = fanin.models.build(
        "hf:llama,num_hidden_layers=2,hidden_size=32,num_attention_heads=4,num_key_value_heads=2,vocab_size=50,"
        "intermediate_size=40,rms_norm_eps=1e-5,initializer_range=0.3"
    ).eval()
    ours = transformer(50, 32, 2, 4, kv_heads=2, hidden=40, **LLAMA).eval()
    ours.load_state_dict({renamed(name): value for name, value in theirs.state_dict().items()})
    torch.testing.assert_close(ours(TOKENS), theirs(TOKENS).logits, rtol=1e-4, atol=1e-5)


def test_the_logits_of_gpt2():
    pytest.importorskip("transformers")
    theirs = fanin.models.build("hf:gpt2,n_layer=2,n_embd=32,n_head=4,vocab_size=50,n_positions=16").eval()
    ours = transformer(50, 32, 2, 4, context=16, activation="gelu_tanh", dropout=0.1).eval()
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.3)
    body = theirs.transformer
    ours.embedding.weight.data.copy_(body.wte.weight)
    ours.positions.table.weight.data.copy_(body.wpe.weight)
    ours.norm.load_state_dict(body.ln_f.state_dict())
    for block, given in zip(ours.blocks, body.h, strict=True):
        block.attention_norm.load_state_dict(given.ln_1.state_dict())
        block.feedforward_norm.load_state_dict(given.ln_2.state_dict())
        attention = block.attention
        rows = zip(
            *(packed.split(32, dim=-1) for packed in (given.attn.c_attn.weight, given.attn.c_attn.bias)), strict=True
        )
        for layer, (weight, bias) in zip((attention.query, attention.key, attention.value), rows, strict=True):
            copy_transposed(layer, weight, bias)
        copy_transposed(attention.output, given.attn.c_proj.weight, given.attn.c_proj.bias)
        copy_transposed(block.feedforward.up, given.mlp.c_fc.weight, given.mlp.c_fc.bias)
        copy_transposed(block.feedforward.down, given.mlp.c_proj.weight, given.mlp.c_proj.bias)
    torch.testing.assert_close(ours(TOKENS), theirs(TOKENS).logits, rtol=1e-4, atol=1e-4)


def copy_transposed(layer, weight, bias):
    layer.weight.data.copy_(weight.T)
    layer.bias.data.copy_(bias)


VARIANTS = [
    {},
    {"placement": "post"},
    {"norm": None, "position": "none"},
    {"kv_heads": 1, "position": "rotary", "activation": "geglu", "tied": False},
    {"experts": 3, "experts_per_token": 1, "activation": "relu"},
    {"norm": lambda width: nn.RMSNorm(width), "activation": torch.sin, "bias": False},
]


@pytest.mark.parametrize("options", VARIANTS)
def test_no_token_sees_a_later_one(options):
    model = transformer(50, 32, 2, 4, **options).eval()
    later = TOKENS.clone()
    later[:, 7] = (later[:, 7] + 1) % 50
    before, after = model(TOKENS), model(later)
    torch.testing.assert_close(before[:, :7], after[:, :7], rtol=0, atol=1e-6)
    assert (before[:, 7:] - after[:, 7:]).abs().amax(-1).min() > 1e-4  # and every later one sees it


def test_post_norm_formula():
    model = transformer(50, 8, 1, 2, placement="post", activation="relu").eval()
    block = model.blocks[0]
    x = model.embedding(TOKENS) + model.positions.table.weight[:12]
    x = block.attention_norm(x + block.attention(x))
    x = block.feedforward_norm(x + block.feedforward.down(block.feedforward.up(x).relu()))
    torch.testing.assert_close(model(TOKENS), x @ model.head.weight.T)
    assert type(model.norm) is nn.Identity


def test_attention_formula_with_shared_keys():
    layer, x = Attention(12, 4, kv_heads=2, causal=False), torch.randn(2, 5, 12)
    query = layer.query(x).reshape(2, 5, 4, 3)
    key, value = (projection(x).reshape(2, 5, 2, 3) for projection in (layer.key, layer.value))
    heads = []
    for head in range(4):
        scores = torch.einsum("nqd,nkd->nqk", query[:, :, head], key[:, :, head // 2]) / 3**0.5
        heads.append(scores.softmax(-1) @ value[:, :, head // 2])
    torch.testing.assert_close(layer(x), layer.output(torch.cat(heads, -1)))


def test_dropout_acts_in_training_alone():
    model = transformer(50, 32, 2, 4, dropout=0.5)
    assert not torch.equal(model(TOKENS), model(TOKENS))
    model.eval()
    assert torch.equal(model(TOKENS), model(TOKENS))
    layer = Attention(8, 2, dropout=0.9)
    x = torch.randn(1, 6, 8)
    assert not torch.equal(layer(x), layer(x))


def test_rotary_scores_depend_on_distances():
    turn = Rotary(8, base=50.0)
    query, key = torch.randn(8), torch.randn(8)
    queries, keys = turn(query.expand(1, 1, 9, 8))[0, 0], turn(key.expand(1, 1, 9, 8))[0, 0]
    scores = queries @ keys.T
    for offset in range(-4, 5):
        torch.testing.assert_close(scores.diagonal(offset), scores.diagonal(offset)[:1].expand(9 - abs(offset)))
    torch.testing.assert_close(scores[0, 0], query @ key)
    # The pair (i, i + d/2) at position t is multiplied by exp(i·t·base^(−2i/d)).
    turned = torch.complex(query[:4], query[4:]) * torch.exp(1j * 3 * 50.0 ** -(torch.arange(4) / 4))
    torch.testing.assert_close(queries[3], torch.cat((turned.real, turned.imag)))


def test_tied_head():
    tied, untied = transformer(50, 8, 1, 2), transformer(50, 8, 1, 2, tied=False)
    assert tied.head.weight is tied.embedding.weight
    assert parameters(untied) == parameters(tied) + 50 * 8
    assert fanin.count(tied).parameters == parameters(tied)


@pytest.mark.parametrize(("name", "gate"), GATED.items())
def test_gated_layers(name, gate):
    layer, x = feedforward(12, 20, name), torch.randn(3, 12)
    act = {"gelu": nn.functional.gelu, "sigmoid": torch.sigmoid, "relu": torch.relu, "silu": nn.functional.silu}[gate]
    torch.testing.assert_close(layer(x), layer.down(act(layer.gate(x)) * layer.up(x)))


@pytest.mark.parametrize("width", [24, 48, 64, 100])
def test_gated_layers_have_about_as_many_weights(width):
    plain, gated = (parameters(feedforward(width, None, name, bias=False)) for name in ("gelu", "swiglu"))
    assert plain == 8 * width**2
    assert plain <= gated <= plain + 3 * 8 * width


def test_experts_are_those_of_the_greatest_logits():
    layer, x = Experts(6, 5, 2, lambda: nn.Linear(6, 6)), torch.randn(7, 6)
    for row, answer in zip(x, layer(x), strict=True):
        logits = layer.router(row)
        best = logits.argsort(descending=True)[:2]
        expected = sum(
            weight * layer.experts[who](row) for weight, who in zip(logits[best].softmax(0), best.tolist(), strict=True)
        )
        torch.testing.assert_close(answer, expected)


def test_a_positions_table_ends_at_the_context():
    model = transformer(50, 8, 1, 2, context=4)
    assert model(TOKENS[:, :4]).shape == (2, 4, 50)
    with pytest.raises(IndexError):
        model(TOKENS[:, :5])
    assert transformer(50, 8, 1, 2, context=4, position="rotary")(TOKENS).shape == (2, 12, 50)


def test_without_bias():
    found = [name for name, _ in transformer(50, 8, 2, 2, bias=False, experts=2).named_parameters() if "bias" in name]
    assert found == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": 3}, "attention: 3 heads do not divide the width 128"),
        ({"kv_heads": 3}, "attention: 3 key and value heads do not divide 4 query heads"),
        (
            {"width": 12, "position": "rotary"},
            "rotary positions turn pairs of coordinates: heads of size 3 must be even",
        ),
        ({"position": "rotary", "rotary_base": 0.0}, "rotary base must be above 0, got 0.0"),
        ({"experts": 2, "experts_per_token": 3}, "experts_per_token must be from 1 to the 2 experts, got 3"),
        ({"experts": 0}, "transformer: experts must be a positive integer, got 0"),
        ({"context": 0}, "transformer: context must be a positive integer, got 0"),
        ({"kv_heads": 0}, "transformer: kv_heads must be a positive integer, got 0"),
        ({"hidden": 0}, "transformer: hidden must be a positive integer, got 0"),
        ({"placement": "sandwich"}, "transformer: placement must be 'pre' or 'post', got 'sandwich'"),
        ({"position": "alibi"}, "transformer: position must be 'learned', 'rotary' or 'none', got 'alibi'"),
        ({"dropout": 1}, "transformer: dropout must be at least 0 and below 1, got 1"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ArgumentError) as caught:
        transformer(**options)
    assert str(caught.value) == message


def test_unknown_names():
    with pytest.raises(UnknownNameError, match=r"unknown activation 'swigloo'; did you mean 'swiglu'\?"):
        transformer(activation="swigloo")
    with pytest.raises(UnknownNameError, match=r"unknown normalisation 'batch'\. Known: layer, rms"):
        transformer(norm="batch")
