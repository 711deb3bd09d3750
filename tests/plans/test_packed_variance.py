"""Packed and stacked weights drawn into real layers: each block passes unit variance on."""

from math import pi, sqrt

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fanin import schemes
from fanin.recipes import Recipe, Rule, has_role
from fanin.recipes.common import OTHERS
from fanin.torch.planning import initialize, plan

# Second moments of nonlinearities of N(0, 1): trapezoid sums over a fine grid.
GRID = np.linspace(-12, 12, 200_001)
DENSITY = np.exp(-(GRID**2) / 2) / sqrt(2 * pi) * (GRID[1] - GRID[0])


def moment(function):
    return float((function(GRID) ** 2 * DENSITY).sum())


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


SIGMOID, TANH, SILU, RELU = moment(sigmoid), moment(np.tanh), moment(lambda x: x * sigmoid(x)), 0.5


def unit(*shape, seed=1):
    """Inputs whose rows have mean square 1: a unit with LeCun weights then is N(0, 1), without any error."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return x / x.square().mean(-1, keepdim=True).sqrt()


def assert_moment(out, expected, units=(-1,)):
    """The second moment over units, which are independent given the inputs; `units` are their dimensions."""
    out = out.detach().double().movedim(units, tuple(range(-len(units), 0)))
    squares = out.square().flatten(-len(units)).flatten(0, -2).mean(0)
    error = sqrt(squares.var().item() / len(squares))
    assert abs(squares.mean().item() - expected) < 5 * error
    assert 5 * error < 0.3 * expected


@pytest.fixture
def attended(monkeypatch):
    """The queries, keys and values that meet in attention."""
    seen, attention = [], F.scaled_dot_product_attention

    def spy(queries, keys, values, *args, **kwargs):
        seen.append((queries, keys, values))
        return attention(queries, keys, values, *args, **kwargs)

    monkeypatch.setattr(F, "scaled_dot_product_attention", spy)
    return seen


@pytest.mark.parametrize(
    "options", [{}, {"bias": False}, {"kdim": 128, "vdim": 64}], ids=["packed", "no bias", "separate"]
)
def test_multihead_attention(options, attended):
    layer = nn.MultiheadAttention(512, 8, batch_first=True, **options)
    queries = unit(16, 1, 512)
    keys, values = unit(16, 1, options.get("kdim", 512), seed=2), unit(16, 1, options.get("vdim", 512), seed=3)
    if not options.get("kdim"):
        keys = values = queries
    initialize(layer, "lecun", (queries, keys, values), seed=4)
    attended.clear()
    out, _ = layer(queries, keys, values, need_weights=False)
    for tensor in attended[0]:
        assert_moment(tensor, 1, units=(1, 3))
    # one position attends to itself: the output is that of two matrices in a row
    assert_moment(out / attended[0][2].square().mean((1, 2, 3))[:, None, None].sqrt(), 1)


MODELS = {
    "gpt2": {"n_layer": 1, "n_embd": 512, "n_head": 8, "vocab_size": 64, "n_positions": 16},
    "gpt_neox": {"hidden_size": 512, "intermediate_size": 512},
    "phi3": {"hidden_size": 512, "intermediate_size": 512, "num_key_value_heads": 2, "pad_token_id": 0},
    "falcon": {"hidden_size": 512, "new_decoder_architecture": True, "num_kv_heads": 2},
    "llama": {"hidden_size": 512, "intermediate_size": 512, "num_key_value_heads": 2},
}
SMALL = {"num_hidden_layers": 1, "num_attention_heads": 8, "vocab_size": 64, "bos_token_id": 1, "eos_token_id": 2}


@pytest.mark.parametrize("kind", MODELS)
def test_queries_keys_and_values_of_published_models(kind, attended):
    transformers = pytest.importorskip("transformers")
    options = MODELS[kind] if kind == "gpt2" else SMALL | MODELS[kind]
    config = transformers.AutoConfig.for_model(kind, attn_implementation="sdpa", **options)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    ids = torch.arange(12)[None]
    initialize(model, "lecun", {"input_ids": ids}, seed=1)
    attended.clear()
    with torch.no_grad():
        model(ids)
    for tensor in attended[0]:
        assert_moment(tensor.transpose(1, 2), 1, units=(2, 3))


@pytest.mark.parametrize("experts", [False, True])
@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("out_first", [False, True])
def test_gate_and_up(experts, interleaved, out_first):
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            shape = (1024, 64) if out_first else (64, 1024)
            self.weight = nn.Parameter(torch.empty((4, *shape) if experts else shape))

        def forward(self, x):
            product = x @ (self.weight.mT if out_first else self.weight)
            halves = (product[..., ::2], product[..., 1::2]) if interleaved else product.chunk(2, -1)
            return F.silu(halves[0]) * halves[1]

    x = unit(4, 32, 64)
    model = Gated()
    step = initialize(model, "lecun", x, seed=2)["weight"]
    assert step.std == 1 / 8
    assert_moment(model(x), SILU, units=(0, 2) if experts else (2,))


@pytest.mark.parametrize("layer", [lambda: nn.Linear(64, 2048), lambda: nn.Conv1d(64, 2048, 1)], ids=["linear", "conv"])
def test_gated_linear_unit(layer):
    model = nn.Sequential(layer(), nn.GLU(1))
    x = unit(64, 64) if isinstance(model[0], nn.Linear) else unit(64, 3, 64).transpose(1, 2)
    initialize(model, "lecun", x, seed=3)
    assert_moment(model(x), SIGMOID, units=(1,))


class Contraction(nn.Module):
    def __init__(self, equation, shape):
        super().__init__()
        self.equation, self.weight = equation, nn.Parameter(torch.empty(shape))

    def forward(self, x):
        return torch.einsum(self.equation, x, self.weight)


CONTRACTIONS = {
    "bi,io->bo": ((64, 1024), (32, 64), (-1,)),
    "bi,oi->bo": ((1024, 64), (32, 64), (-1,)),
    "bi,ihk->bhk": ((64, 16, 64), (32, 64), (1, 2)),
    "ebi,eio->ebo": ((4, 64, 512), (4, 32, 64), (0, 2)),
    "bhi,hio->bho": ((8, 64, 128), (32, 8, 64), (1, 2)),
    "bhi,hio->bo": ((8, 16, 1024), (32, 8, 16), (-1,)),
}


@pytest.mark.parametrize("equation", CONTRACTIONS)
def test_einsum(equation):
    weight, inputs, units = CONTRACTIONS[equation]
    model, x = Contraction(equation, weight), unit(*inputs)
    initialize(model, "lecun", x, seed=5)
    assert_moment(model(x), 1, units)


def test_bilinear():
    layer, x, y = nn.Bilinear(16, 24, 2048), unit(64, 16), unit(64, 24, seed=2)
    initialize(layer, "lecun", (x, y), seed=5)
    assert_moment(layer(x, y), 1)


@pytest.mark.parametrize(("mode", "expected"), [("sum", 5.0), ("mean", 1 / 5)])
def test_a_bag_of_rows_is_a_sum_of_lookups(mode, expected):
    # What is promised is unit variance of a row; a bag of n different rows has n times (a mean 1/n of) that.
    layer = nn.EmbeddingBag(100, 1024, mode=mode)
    ids = torch.arange(60).view(12, 5)
    step = initialize(layer, "lecun", ids, seed=5)["weight"]
    assert step.std == 1
    assert_moment(layer(torch.arange(50).view(50, 1)), 1)
    assert_moment(layer(ids), expected)


GATES = Recipe(
    "gates",
    (
        Rule(
            has_role("recurrent input", "recurrent hidden"),
            lambda tensor: schemes.lecun_normal(tensor.contracted),
            "unit variance into each gate",
        ),
        *OTHERS,
    ),
)
INPUT, UNITS, BATCH = 32, 1024, 24


def gated(layer, seed=7):
    shape = (1, BATCH, INPUT) if isinstance(layer, nn.RNNBase) else (BATCH, INPUT)
    initialize(layer, GATES, torch.zeros(shape), seed=seed)
    return layer


@pytest.mark.parametrize("side", ["input", "hidden"])
@pytest.mark.parametrize(("nonlinearity", "expected"), [("tanh", TANH), ("relu", RELU)])
@pytest.mark.parametrize("cell", [False, True])
def test_recurrent(cell, nonlinearity, expected, side):
    layer = gated((nn.RNNCell if cell else nn.RNN)(INPUT, UNITS, nonlinearity=nonlinearity))
    x, h = unit(BATCH, INPUT) * (side == "input"), unit(BATCH, UNITS) * (side == "hidden")
    assert_moment(layer(x, h) if cell else layer(x[None], h[None])[0], expected)


@pytest.mark.parametrize("side", ["input", "hidden"])
@pytest.mark.parametrize("cell", [False, True])
def test_lstm(cell, side):
    layer = gated((nn.LSTMCell if cell else nn.LSTM)(INPUT, UNITS))
    x, h = unit(BATCH, INPUT) * (side == "input"), unit(BATCH, UNITS) * (side == "hidden")

    def state(c):
        if cell:
            return layer(x, (h, c))
        return tuple(each[0] for each in layer(x[None], (h[None], c[None]))[1])

    hidden, cells = state(torch.zeros(BATCH, UNITS))
    assert_moment(cells, SIGMOID * TANH)  # input gate × cell
    assert_moment(hidden / cells.tanh(), SIGMOID)  # output gate
    _, kept = state(torch.ones(BATCH, UNITS))
    assert_moment(kept - cells, SIGMOID)  # forget gate × 1


@pytest.mark.parametrize("cell", [False, True])
def test_gru(cell):
    layer = gated((nn.GRUCell if cell else nn.GRU)(INPUT, UNITS))
    x, zero = unit(BATCH, INPUT), torch.zeros(BATCH, UNITS)
    # (1 − update) × new, from a state of zero
    assert_moment(layer(x, zero) if cell else layer(x[None], zero[None])[0], SIGMOID * TANH)
    # without inputs new is tanh(reset × hidden): both are N(0, 1) before their nonlinearity
    h = unit(BATCH, UNITS)
    out = layer(torch.zeros(BATCH, INPUT), h) if cell else layer(torch.zeros(1, BATCH, INPUT), h[None])[0]
    columns = sigmoid(GRID[::200])[:, None] * GRID[::200]
    density = DENSITY[::200] * 200
    new = float(density @ np.tanh(columns) ** 2 @ density)
    assert_moment(out, SIGMOID * new + SIGMOID)


def test_the_last_matrix_of_a_projected_lstm():
    layer = nn.LSTM(INPUT, UNITS, proj_size=512)
    made = plan(layer, "lecun", torch.zeros(1, 2, INPUT))
    assert made["weight_hr_l0"].std == UNITS**-0.5
    assert made["weight_hr_l0"].axes.fans == (UNITS, 512)


def ones_through(layer, shape):
    """How many inputs each interior output sees, and how many outputs each interior input reaches."""
    with torch.no_grad():
        layer.weight.fill_(1)
    ones = torch.ones(shape, requires_grad=True)
    out = layer(ones)
    out.sum().backward()
    inner = tuple(size // 2 if axis > 1 else 0 for axis, size in enumerate(out.shape))
    centre = tuple(size // 2 if axis > 1 else 0 for axis, size in enumerate(shape))
    return out[inner].item(), ones.grad[centre].item()


class Experts(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(3, 5, 7))

    def forward(self, x):
        return torch.bmm(x, self.weight.transpose(1, 2)).transpose(0, 1)


WRONG = {
    "grouped": (lambda: nn.Conv2d(8, 12, 3, groups=4, bias=False), (2, 8, 9, 9)),
    "depthwise": (lambda: nn.Conv2d(64, 64, 3, groups=64, bias=False), (2, 64, 9, 9)),
    "transposed": (lambda: nn.ConvTranspose2d(8, 6, 3, bias=False), (2, 8, 9, 9)),
    "transposed, strided": (lambda: nn.ConvTranspose2d(8, 6, 4, stride=2, bias=False), (2, 8, 9, 9)),
    "experts": (Experts, (3, 2, 7)),
}


@pytest.mark.parametrize("name", WRONG)
def test_fans_that_torch_gets_wrong(name):
    make, shape = WRONG[name]
    layer = make()
    truth = (7.0, 5.0) if name == "experts" else ones_through(layer, shape)
    assert plan(layer, "lecun", torch.zeros(shape))["weight"].axes.fans == truth
    assert nn.init._calculate_fan_in_and_fan_out(layer.weight) != truth


def test_torch_reads_one_matrix_where_three_are_packed():
    layer, x = nn.MultiheadAttention(16, 4), torch.zeros(5, 2, 16)
    assert plan(layer, "lecun", (x, x, x))["in_proj_weight"].axes.fans == (16, 16)
    assert nn.init._calculate_fan_in_and_fan_out(layer.in_proj_weight) == (16, 48)
