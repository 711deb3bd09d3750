"""What theory predicts of attention and of recurrent layers, against sums done by hand and against fresh models."""

from __future__ import annotations

from math import sqrt
from statistics import median, stdev
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fanin.torch.materialize import materialize
from fanin.torch.planning import plan
from fanin.torch.probe import LayerProbe, probe

WIDTH = 64


def look(model: nn.Module, x: Any, laws: dict[str, tuple[float, float]]) -> dict[str, LayerProbe]:
    return {layer.name: layer for layer in probe(model, x, laws=laws, training=False).layers}


class Attention(nn.Module):
    """One head of each matrix, values of unit size, causal where wanted."""

    def __init__(self, heads: int = 4, causal: bool = True) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(3))
        self.out, self.heads, self.causal = nn.Linear(WIDTH, WIDTH, bias=False), heads, causal

    def forward(self, x: Tensor) -> Tensor:
        parts = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for layer in (self.query, self.key, self.value)
        )
        mixed = F.scaled_dot_product_attention(*parts, is_causal=self.causal)
        return self.out(mixed.transpose(1, 2).flatten(2))


def of_attention(size: float) -> dict[str, tuple[float, float]]:
    one = (0.0, sqrt(1 / WIDTH))
    return {"query.weight": (0.0, size), "key.weight": (0.0, size), "value.weight": one, "out.weight": one}


def tokens(count: int, equal: bool = False) -> Tensor:
    rows = torch.eye(WIDTH)[:count] * sqrt(WIDTH)
    return (rows[:1].expand(count, -1).clone() if equal else rows)[None]


def test_uniform_attention_averages_what_it_sees() -> None:
    """Over t orthogonal tokens E[o²] = 1/t; over equal ones it stays 1."""
    causal = look(Attention(), tokens(8), of_attention(1e-6))["out"]
    assert causal.expected_forward == pytest.approx(sum(1 / t for t in range(1, 9)) / 8, rel=1e-6)
    whole = look(Attention(causal=False), tokens(8), of_attention(1e-6))["out"]
    assert whole.expected_forward == pytest.approx(1 / 8, rel=1e-6)
    equal = look(Attention(), tokens(8, equal=True), of_attention(sqrt(1 / WIDTH)))["out"]
    assert equal.expected_forward == pytest.approx(1.0, rel=1e-6)


def test_sharp_attention_picks_one_key() -> None:
    sharp = look(Attention(causal=False), tokens(8), of_attention(30.0))["out"]
    assert sharp.expected_forward == pytest.approx(1.0, rel=0.02)
    between = look(Attention(causal=False), tokens(8), of_attention(sqrt(1 / WIDTH)))["out"]
    generator = torch.Generator().manual_seed(0)
    scores = torch.softmax(torch.randn(200_000, 8, generator=generator, dtype=torch.float64), -1)
    assert between.expected_forward == pytest.approx(float(scores.square().sum(-1).mean()), rel=0.05)


def test_scores_and_values_of_one_matrix_are_not_predicted() -> None:
    model = Attention()
    model.key = model.query
    seen = look(model, tokens(8), of_attention(0.1))
    assert seen["query#2"].expected_forward is None
    assert seen["out"].expected_forward is not None  # from measured values


def test_multi_head_attention_with_packed_matrices() -> None:
    layer = nn.MultiheadAttention(WIDTH, 4, batch_first=True, bias=False)

    class Self(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x, x, x, need_weights=False)[0]

    with torch.no_grad():
        layer.in_proj_weight.normal_(0, sqrt(1 / WIDTH), generator=torch.Generator().manual_seed(0))
        layer.in_proj_weight[: 2 * WIDTH] *= 1e-6
        layer.out_proj.weight.normal_(0, sqrt(1 / WIDTH), generator=torch.Generator().manual_seed(1))
    parts = (layer.in_proj_weight[2 * WIDTH :], layer.out_proj.weight)
    size = WIDTH**2 * float(parts[0].detach().square().mean() * parts[1].detach().square().mean())
    assert look(Self(), tokens(8), {})["layer"].expected_forward == pytest.approx(size / 8, rel=0.01)


class Recurrent(nn.Module):
    def __init__(self, layer: nn.RNNBase) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)[0]


def recurrent(layer: nn.RNNBase, x: Tensor, inner: float, outer: float) -> float:
    for name, parameter in layer.named_parameters():
        nn.init.zeros_(parameter) if "bias" in name else nn.init.normal_(parameter)
    laws = {f"layer.weight_ih_l{k}": (0.0, inner) for k in range(layer.num_layers)}
    laws |= {f"layer.weight_hh_l{k}": (0.0, outer) for k in range(layer.num_layers)}
    value = look(Recurrent(layer), x, laws)["layer"].expected_forward
    assert value is not None
    return value


def test_a_linear_recurrence() -> None:
    """h(t) = Σₖ Wᵏ·U·x(t − k): with σ_w²·n = 1/2 and white inputs E[h(t)²] = q·(2 − 2⁻ᵗ⁺¹) for t = 1, 2, …"""
    q = 1e-6
    found = recurrent(nn.RNN(WIDTH, 32, batch_first=True), tokens(4), sqrt(q / WIDTH), sqrt(0.5 / 32))
    assert found == pytest.approx(q * sum(2 - 2.0 ** (1 - t) for t in range(1, 5)) / 4, rel=0.02)
    constant = recurrent(nn.RNN(WIDTH, 32, batch_first=True), tokens(4, equal=True), sqrt(q / WIDTH), sqrt(0.5 / 32))
    assert constant == pytest.approx(found, rel=0.02)


def test_an_identity_adds_up() -> None:
    """With W = I, ReLU and the same input at each step h(t) = t·relu(U·x)."""
    layer = nn.RNN(WIDTH, 32, nonlinearity="relu", batch_first=True, bias=False)
    nn.init.eye_(layer.get_parameter("weight_hh_l0"))
    seen = look(Recurrent(layer), tokens(4, equal=True), {"layer.weight_ih_l0": (0.0, sqrt(2 / WIDTH))})["layer"]
    assert seen.expected_forward == pytest.approx(sum(t**2 for t in range(1, 5)) / 4, rel=0.02)


def test_one_step_of_gates() -> None:
    z = torch.linspace(-8, 8, 401, dtype=torch.float64)
    weights = torch.exp(-z * z / 2)
    weights = weights / weights.sum()
    gate, candidate = torch.sigmoid(z), torch.tanh(z)
    inside = weights @ (torch.sigmoid(z)[:, None] * candidate[None, :]).tanh().square() @ weights
    lstm = recurrent(nn.LSTM(WIDTH, 32, batch_first=True), tokens(1), sqrt(1 / WIDTH), 0.1)
    assert lstm == pytest.approx(float(weights @ gate.square() * inside), rel=0.05)
    gru = recurrent(nn.GRU(WIDTH, 32, batch_first=True), tokens(1), sqrt(1 / WIDTH), 0.1)
    assert gru == pytest.approx(float((weights @ (1 - gate).square()) * (weights @ candidate.square())), rel=0.05)


@pytest.mark.filterwarnings("ignore:LSTM with projections")
def test_recurrent_layers_that_are_not_predicted() -> None:
    layer = nn.LSTM(WIDTH, 32, batch_first=True, proj_size=8)
    seen = look(Recurrent(layer), tokens(4), {})["layer"]
    assert seen.expected_forward is None
    assert "projection" in (seen.expected_why or "")
    twice = nn.GRU(WIDTH, 32, 2, batch_first=True, dropout=0.5)
    rows = {row.name: row for row in probe(Recurrent(twice), tokens(4)).layers}
    assert "dropout between recurrent layers" in (rows["layer"].expected_why or "")


def _llama() -> nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(
        LlamaConfig(
            hidden_size=192, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4, vocab_size=256,
            num_key_value_heads=2,
        )
    )  # fmt: skip


def _gpt2() -> nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(n_embd=192, n_layer=2, n_head=4, n_positions=16, vocab_size=256)
    config.bos_token_id = config.eos_token_id = 0
    return GPT2LMHeadModel(config)


def _encoder() -> nn.Module:
    layer = nn.TransformerEncoderLayer(192, 4, 384, batch_first=True)
    return nn.Sequential(nn.Embedding(256, 192), nn.TransformerEncoder(layer, 2, enable_nested_tensor=False))


def _lstm() -> nn.Module:
    return nn.Sequential(nn.Embedding(256, 192), Recurrent(nn.LSTM(192, 192, 2, batch_first=True)))


@pytest.mark.parametrize("make", [_gpt2, _llama, _encoder, _lstm])
@pytest.mark.parametrize("recipe", ["native", "xavier"])
def test_fresh_models_are_as_predicted(make: Any, recipe: str) -> None:
    """The promise: the median over seeds within 10 % and five standard errors of it."""
    if make in (_gpt2, _llama):
        pytest.importorskip("transformers")
    model, seeds = make(), 5
    made = plan(model, recipe, torch.zeros(2, 8, dtype=torch.long))
    laws = {
        name: (made[name].mean or 0.0, made[name].std or 0.0)
        for name, _ in model.named_parameters()
        if made[name].std is not None
    }
    ratios: dict[str, list[float]] = {}
    for seed in range(seeds):
        materialize(model, made, seed=seed)
        ids = torch.randint(0, 256, (4, 8), generator=torch.Generator().manual_seed(seed))
        for name, layer in look(model, ids, laws).items():
            if layer.expected_forward:
                ratios.setdefault(name, []).append(layer.forward.second / layer.expected_forward)
    assert len(ratios) >= (2 if make is _lstm else 10)
    for name, found in ratios.items():
        error = 1.2533 * stdev(found) / sqrt(seeds)
        assert abs(median(found) - 1) <= 0.10 + 5 * error, (name, found)
    assert median(abs(median(found) - 1) for found in ratios.values()) < 0.05
