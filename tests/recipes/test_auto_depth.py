"""Signals and gradients through 50 layers of real networks under `auto` and `critical`.

`bench/auto_depth.py` measures the same at full width; here narrower networks and fewer seeds, with the tolerance that
their width asks for.
"""

from __future__ import annotations

from itertools import pairwise
from math import log, sqrt
from statistics import median

import pytest
import torch
from torch import nn

from fanin.gains import gated_point, mirrored_response, operating_point, response
from fanin.models.catalogue import build
from fanin.torch.materialize import materialize
from fanin.torch.planning import initialize, plan

DEPTH = 50
SEEDS = 5


def dense(activation, width=128):
    return nn.Sequential(*(layer for _ in range(DEPTH) for layer in (nn.Linear(width, width), activation())))


def convolutional(activation, channels=32, padding="zeros"):
    layer = lambda: nn.Conv2d(channels, channels, 3, padding=1, padding_mode=padding)  # noqa: E731
    return nn.Sequential(*(part for _ in range(DEPTH) for part in (layer(), activation())))


def pass_through(model, signal):
    """Second moments of the outputs of all layers with parameters, and of the gradients there."""
    outputs = []

    def keep(module, inputs, output):
        output.retain_grad()
        outputs.append(output)

    hooks = [module.register_forward_hook(keep) for module in model if list(module.parameters())]
    out = model(signal)
    (out * torch.randn(out.shape, generator=torch.Generator().manual_seed(9))).sum().backward()
    for hook in hooks:
        hook.remove()
    moments = [[t.detach().double().square().mean().item() for t in (out, out.grad)] for out in outputs]
    return [forward for forward, _ in moments], [backward for _, backward in moments]


def medians(model, recipe, signal, seeds=SEEDS):
    """(least and greatest forward second moment relative to the first layer, gradient at the first to the last)."""
    made = plan(model, recipe, signal)
    forward, backward = zip(
        *(pass_through(materialize(model, made, seed=seed), signal) for seed in range(seeds)), strict=True
    )
    layers = [median(row[at] / row[0] for row in forward) for at in range(DEPTH)]
    return min(layers), max(layers), median(row[0] / row[-1] for row in backward)


def images(channels=32):
    return torch.randn(4, channels, 6, 6, generator=torch.Generator().manual_seed(3))


def vectors(width=128):
    return torch.randn(32, width, generator=torch.Generator().manual_seed(3))


ALL = {
    "relu": nn.ReLU,
    "leaky_relu": lambda: nn.LeakyReLU(0.1),
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "tanh": nn.Tanh,
    "selu": nn.SELU,
    "elu": nn.ELU,
}
EXACT = ("relu", "leaky_relu", "gelu", "silu")


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("make", [dense, convolutional])
def test_auto_keeps_the_signal_and_the_gradient_follows_chi(name, make):
    signal = vectors() if make is dense else images()
    low, high, back = medians(make(ALL[name]), "auto", signal)
    if name == "tanh":  # critical: a power of the depth, of which 70 % are left; zero padding takes a little more
        assert 0.55 < low <= high < 1.01
        assert 0.5 < back < 1
        return
    exact = name in EXACT
    assert (0.999 if exact else 0.7) < low <= high < (1.001 if exact else 1.4)
    point = operating_point(name, 0.1 if name == "leaky_relu" else None)
    pair = mirrored_response(name, point.variance, point_parameter(name))
    chi = pair.steady_chi
    # the spread of a product of 49 slopes, about 1/√width each
    spread = 0.6 + 49 * abs(log(chi)) * (0.4 if make is convolutional else 0.1)
    assert abs(log(back) - 49 * log(chi)) < spread
    if exact:
        assert 0.5 < back < 2


def point_parameter(name):
    return 0.1 if name == "leaky_relu" else None


@pytest.mark.parametrize("name", ["gelu", "silu", "mish", "tanh", "relu", "selu"])
def test_critical_keeps_signal_and_gradient(name):
    # Deviations from the theory of wide networks grow as depth / width: the logarithm of a product of 50 slopes at
    # width 512 spreads by about √(5·50/512) = 0.7, its median over 9 seeds by 0.3.
    low, high, back = medians(dense(ALL[name], width=512), "critical", vectors(512), seeds=9)
    assert 0.5 < low <= high < 2
    assert 0.5 < back < 2


def test_an_edge_of_chaos_with_biases_keeps_tanh_at_full_signal():
    model = dense(nn.Tanh)
    made = plan(model, "critical,variance=1", vectors())
    forward, backward = pass_through(materialize(model, made, seed=1), vectors())
    assert 0.7 < forward[-1] < 1.4
    assert 0.5 < backward[0] / backward[-1] < 2


def test_circular_padding_is_seen_through():
    made = plan(convolutional(nn.ReLU, padding="circular"), "auto", images())
    assert made["98.weight"].why.startswith("relu follows in a chain of 50 weights")


def test_the_first_layer_reads_inputs_of_second_moment_one():
    model = dense(nn.Tanh)[:6]
    initialize(model, "auto", vectors(), seed=2)
    forward, _ = pass_through(model, vectors())
    # 32 samples of 128 inputs, 128 units
    assert forward[0] == pytest.approx(1, abs=5 * sqrt(2 / 128 / 16))


class Branch(nn.Module):
    def __init__(self, width, activation):
        super().__init__()
        self.up, self.activation, self.down = nn.Linear(width, 2 * width), activation(), nn.Linear(2 * width, width)

    def forward(self, stream):
        return stream + self.down(self.activation(self.up(stream)))


@pytest.mark.parametrize("activation", [nn.ReLU, nn.GELU, nn.Tanh])
def test_residual_stacks_grow_as_predicted(activation):
    blocks = 60
    model = nn.Sequential(*(Branch(128, activation) for _ in range(blocks)))
    signal = vectors()
    made = initialize(model, "auto", signal, seed=1)
    assert made["0.down.weight"].why.endswith("together they make it ×2.70")
    forward, backward = pass_through(model, signal)
    predicted = (1 + 1 / blocks) ** blocks
    assert predicted / 1.4 < forward[-1] < predicted * 1.2
    assert forward[29] < predicted**0.6
    assert 1 < backward[0] / backward[-1] < 4


def small(name):
    transformers = pytest.importorskip("transformers")
    common = {"vocab_size": 500, "bos_token_id": 0, "eos_token_id": 1}
    if name == "gpt2":
        dropout = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
        config = transformers.GPT2Config(n_embd=64, n_layer=24, n_head=4, n_positions=32, **common, **dropout)
        return transformers.GPT2LMHeadModel(config), 1.25 * 0.4 / 64
    sizes = {"hidden_size": 64, "intermediate_size": 160, "num_attention_heads": 4, "num_key_value_heads": 2}
    kind = {"llama": "Llama", "olmo2": "Olmo2"}[name]
    config = getattr(transformers, f"{kind}Config")(num_hidden_layers=24, pad_token_id=None, **sizes, **common)
    return getattr(transformers, f"{kind}ForCausalLM")(config), 1


@pytest.mark.parametrize("name", ["gpt2", "llama", "olmo2"])
def test_transformers_with_norms_in_their_branches_double_their_stream_at_most(name):
    model, start = small(name)
    ids = torch.randint(0, 500, (2, 32), generator=torch.Generator().manual_seed(1))
    initialize(model, "auto", {"input_ids": ids}, seed=1)
    with torch.no_grad():
        out = model(input_ids=ids, output_hidden_states=True)
    stream = [hidden.square().mean().item() for hidden in out.hidden_states[:-1]]
    # 64 rows of 64, drawn from 500
    assert stream[0] == pytest.approx(start, rel=5 * sqrt(2 / 64 / 64) + 0.05)
    assert all(later > before * 0.99 for before, later in pairwise(stream))
    # 46 of 48 branches lie before the last but one state; attention averages, so its branches add less than 1/48
    assert 1.4 < stream[-1] / stream[0] < 2.1
    assert out.logits.var().item() == pytest.approx(0.4, abs=0.06)


def read_by_last_weights(seed):
    """Mean squares of what each layer's last weights read and make, and of each layer, the latter over their share."""
    model, start = small("llama")
    ids = torch.randint(0, 500, (2, 32), generator=torch.Generator().manual_seed(1))
    initialize(model, "auto", {"input_ids": ids}, seed=seed)
    read, made = [], []

    def look(module, inputs, output):
        read.append(inputs[0].square().mean().item())
        made.append(output.square().mean().item())

    hooks = [layer.mlp.down_proj.register_forward_hook(look) for layer in model.model.layers]
    with torch.no_grad():
        model(input_ids=ids)
    for hook in hooks:
        hook.remove()
    return torch.tensor(read), torch.tensor(made) * 48 / start


def test_products_behind_gates_and_what_branches_add_are_as_planned():
    gate = gated_point("silu")
    narrow = response("silu", 0.4 * gate.variance)
    for moments, expected in zip(read_by_last_weights(4), (narrow.second_moment * narrow.variance, 1), strict=True):
        error = moments.std().item() / sqrt(len(moments))
        assert abs(moments.mean().item() - expected) < 5 * error
        assert 5 * error < 0.2 * expected


def test_sinusoids_of_an_encoder_stay():
    transformers = pytest.importorskip("transformers")
    layers = dict.fromkeys(("encoder_layers", "decoder_layers"), 1)
    heads = dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 2)
    special = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}
    sizes = {"vocab_size": 100, "d_model": 32, "num_mel_bins": 8, "max_source_positions": 20}
    model = transformers.WhisperModel(transformers.WhisperConfig(**sizes, **layers, **heads, **special))
    kept = model.encoder.embed_positions.weight.clone()
    initialize(model, "auto", seed=1)
    assert torch.equal(model.encoder.embed_positions.weight, kept)


def test_positions_of_two_towers_go_by_their_own():
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    special = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    config = transformers.CLIPConfig(
        text_config={"vocab_size": 99, "max_position_embeddings": 16, **sizes, **special},
        vision_config={"image_size": 16, "patch_size": 4, **sizes},
        projection_dim=16,
    )
    made = plan(transformers.CLIPModel(config), "auto")
    assert made["text_model.embeddings.position_embedding.weight"].std == pytest.approx(1.0)
    assert made["vision_model.embeddings.position_embedding.weight"].std == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("model", "table", "expected"),
    [
        ("transformer:width=64,depth=1,tied=false", "positions.table.weight", 1.0),
        ("transformer:width=64,depth=1", "positions.table.weight", 0.5 * sqrt(0.4 / 64)),
        ("vit:width=64,depth=1,heads=4", "positions.table.weight", 0.5),
    ],
)
def test_positions_beside_tokens_of_their_own_tied_ones_and_patches(model, table, expected):
    assert plan(build(model), "auto")[table].initializer.std == pytest.approx(expected)
