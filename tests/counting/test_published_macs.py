"""Multiply-accumulates of whole networks, by hand and as published; other counters miss some of them."""

import pytest
import torch
from torch import nn

from fanin import count
from fanin.models import build


def on_meta(spec):
    with torch.device("meta"):
        return build(spec)


def tokens(batch, steps):
    return torch.zeros(batch, steps, dtype=torch.long)


def test_resnet18():
    model = on_meta("resnet18")
    found = count(model, torch.zeros(1, 3, 224, 224, device="meta"))
    assert (found.parameters, found.macs) == (11_689_512, 1_814_073_344)


def test_resnet50_parameters():
    assert count(on_meta("resnet50")).parameters == 25_557_032


# Products of weights with 128 tokens and logits at each of them; then QKᵀ and scores·V, all of both.
GPT2 = 12 * (12 * 768**2) * 128 + 50257 * 768 * 128 + 12 * (2 * 128**2 * 768)


@pytest.mark.parametrize("spec", ["gpt2-small", "hf:gpt2"])
def test_gpt2_small_at_128_tokens(spec):
    if spec.startswith("hf:"):
        pytest.importorskip("transformers")
    found = count(on_meta(spec), tokens(1, 128))
    assert (found.parameters, found.macs) == (124_439_808, 16_114_089_984)
    assert found.macs == GPT2


def test_gpt2_grows_with_the_square_of_the_tokens_in_attention_alone():
    model = on_meta("gpt2-small")
    short, long = (count(model, tokens(1, steps)).macs for steps in (64, 128))
    assert long - 2 * short == 12 * 768 * 2 * (128**2 - 2 * 64**2)


@pytest.mark.parametrize(("kv_heads", "position"), [(12, "learned"), (4, "rotary"), (1, "none")])
def test_grouped_queries_save_projections_not_products(kv_heads, position):
    model = on_meta(f"transformer:width=96,heads=12,depth=2,kv_heads={kv_heads},position={position},vocabulary=50")
    weights = 2 * (2 * 96 * 96 + 2 * 96 * 8 * kv_heads + 8 * 96 * 96) + 50 * 96
    assert count(model, tokens(3, 16)).macs == 3 * (16 * weights + 2 * 2 * 16**2 * 96)


def test_every_expert_answers():
    model = on_meta("transformer:width=32,heads=4,depth=1,experts=5,experts_per_token=2,vocabulary=50,activation=relu")
    weights = 4 * 32**2 + 5 * 32 + 5 * 8 * 32**2 + 50 * 32
    assert count(model, tokens(1, 16)).macs == 16 * weights + 2 * 16**2 * 32


def test_lstm_with_a_head_on_the_last_step():
    found = count(build("lstm:inputs=64,width=128,depth=2"), torch.zeros(4, 20, 64))
    assert found.macs == 4 * 20 * 4 * 128 * ((64 + 128) + (128 + 128)) + 4 * 128 * 10 == 18_355_200


def test_bidirectional_gru():
    found = count(build("gru:inputs=64,width=128,bidirectional=true"), torch.zeros(4, 20, 64))
    assert found.macs == 2 * 4 * 20 * 3 * 128 * (64 + 128) + 4 * 256 * 10 == 11_806_720


@pytest.mark.parametrize("batch_first", [True, False])
def test_encoder_layer_of_torch(batch_first):
    layer = nn.TransformerEncoderLayer(64, 4, 128, batch_first=batch_first)
    inputs = torch.zeros(2, 10, 64) if batch_first else torch.zeros(10, 2, 64)
    weights = 4 * 64 * 64 + 2 * 64 * 128
    assert count(layer, inputs).macs == 20 * weights + 2 * 2 * 10**2 * 64 == 680_960


def test_transposed_and_grouped_convolutions():
    model = nn.Sequential(nn.ConvTranspose2d(8, 4, 4, 2, 1), nn.Conv2d(4, 4, 3, padding=1, groups=2))
    # A transposed convolution multiplies at each place of its input, a convolution at each of its output.
    expected = 2 * (16**2 * 8 * 4 * 4**2 + 32**2 * 4 * (4 // 2) * 3**2)
    assert count(model, torch.zeros(2, 8, 16, 16)).macs == expected == 409_600


def test_seq2seq_counts_both_sides():
    model = build("seq2seq:vocabulary=30,width=16,cell=gru")
    inputs = {"source": tokens(2, 5), "target": tokens(2, 7)}
    assert count(model, inputs).macs == 2 * (5 + 7) * 3 * 16 * 32 + 2 * 7 * 16 * 30
