"""After LSUV the output of every kind of layer has variance one on the batch, measured by hooks."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fanin
from fanin.initializers import Normal, Uniform, Zeros

NEAR = 0.01  # what is promised for every layer
EXACT = 2e-5  # what one pass reaches where nothing is left within the tolerance


class Convolutions(nn.Module):
    def __init__(self):
        super().__init__()
        self.plain = nn.Conv2d(3, 8, 3, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.grouped = nn.Conv2d(8, 16, 3, groups=4)
        self.depthwise = nn.Conv2d(16, 16, 3, groups=16)
        self.up = nn.ConvTranspose2d(16, 6, 3, stride=2)
        self.up_grouped = nn.ConvTranspose2d(6, 4, 2, groups=2)
        self.head = nn.Linear(4, 5)

    def forward(self, x):
        x = self.norm(self.plain(x)).relu()
        x = self.depthwise(F.gelu(self.grouped(x)))
        return self.head(self.up_grouped(self.up(x).relu()).mean((2, 3)))


class Shortcuts(nn.Module):
    """Tied tables, a reused layer, a zero branch, a layer nobody calls, a frozen one, parameters used by functions."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(11, 8)
        self.again = nn.Linear(8, 8)
        self.zero = nn.Linear(8, 8)
        self.frozen = nn.Linear(8, 8)
        self.frozen.weight.requires_grad_(False)
        self.unused = nn.Linear(8, 8)
        self.bare = nn.Parameter(torch.ones(8, 8))
        self.pair = nn.Bilinear(8, 8, 4)
        self.head = nn.Linear(8, 11, bias=False)
        self.head.weight = self.table.weight

    def forward(self, ids):
        x = self.again(self.again(self.table(ids)).tanh())
        x = x + self.zero(x)
        x = self.frozen(x) @ self.bare
        x = x + F.linear(x, self.bare)
        return self.head(x), self.pair(x, x.tanh())


@pytest.fixture
def ids():
    return torch.arange(44).reshape(4, 11) % 11


def test_convolutions_of_all_kinds(noise, variances):
    model, batch = Convolutions(), noise(16, 3, 12, 12)
    fanin.lsuv(model, batch, tolerance=0.0)
    seen = variances(model, batch)
    assert len(seen) == 6
    assert max(abs(variance - 1) for variance in seen.values()) < EXACT


def test_the_default_tolerance_keeps_the_promise(noise, variances):
    model, batch = Convolutions(), noise(16, 3, 12, 12)
    fanin.lsuv(model, batch)
    assert max(abs(variance - 1) for variance in variances(model, batch).values()) <= NEAR


@pytest.mark.parametrize("recipe", ["native", "he", "xavier"])
def test_biases_that_are_not_zero_count_in_the_variance(noise, variances, recipe):
    model, batch = nn.Sequential(nn.Linear(6, 40), nn.ReLU(), nn.Linear(40, 30)), noise(128, 6)
    laws = {"0.bias": Uniform(0.1, 0.9), "2.bias": Normal(0.3, 0.6)}
    plan = fanin.plan(model, recipe, batch).override(laws)
    made = fanin.lsuv(model, batch, plan=plan, tolerance=0.0)
    assert max(abs(variance - 1) for variance in variances(model, batch).values()) < EXACT
    assert made["2.bias"].initializer == laws["2.bias"]
    assert model[2].bias.std() > 0.3


def test_a_bias_that_alone_varies_more_than_one_leaves_the_product_with_variance_one(noise, outputs):
    model, batch = nn.Linear(6, 400), noise(64, 6)
    plan = fanin.plan(model, "he", batch).override({"bias": Normal(0.0, 3.0)})
    fanin.lsuv(model, batch, plan=plan)
    product = (model(batch) - model.bias).detach()
    assert abs(float(product.var(correction=0)) - 1) < EXACT


def test_tied_reused_frozen_zero_and_unreached_weights(ids):
    model = Shortcuts()
    plan = fanin.plan(model, "orthogonal", ids).override({"zero.weight": Zeros()})
    made = fanin.lsuv(model, ids, plan=plan, tolerance=0.0)
    with torch.no_grad():
        x = model.table(ids)
        assert abs(float(x.var(correction=0)) - 1) < EXACT
        first = model.again(x)
        assert abs(float(first.var(correction=0)) - 1) < EXACT
        x = model.frozen(model.again(first.tanh()))
        assert abs(float((x @ model.bare).var(correction=0)) - 1) < EXACT
    assert torch.equal(model.zero.weight, torch.zeros(8, 8))
    said = {step.name: step.why.partition("LSUV: ")[2] for step in made.steps}
    assert said["table.weight"].endswith("(of 2 uses the first decides)")
    assert said["again.weight"].endswith("(of 2 uses the first decides)")
    assert said["bare"].endswith("(of 2 uses the first decides)")
    assert said["zero.weight"] == "kept: its output is zero on this batch"
    assert said["frozen.weight"] == "kept: frozen (requires_grad is False)"
    assert said["unused.weight"] == "kept: the pass never multiplied by it"
    assert said["pair.weight"].startswith("measured std")
    for kept in ("zero.weight", "frozen.weight", "unused.weight", "again.bias"):
        assert made[kept].action == plan[kept].action
    assert "LSUV: never reached: unused.weight" in made.notes
    assert "LSUV: zero output, kept: zero.weight" in made.notes


def test_what_was_measured_and_done_is_said(noise):
    model, batch = nn.Linear(16, 64), noise(32, 16)
    plan = fanin.plan(model, "he", batch).override({"weight": Normal(std=0.5)})
    fresh = nn.Linear(16, 64)
    fanin.materialize(fresh, plan, 0)
    std = float(fresh(batch).detach().std(correction=0))
    made = fanin.lsuv(model, batch, plan=plan)
    assert made["weight"].why == f"set by hand; LSUV: measured std {std:.3g} on 32 samples → ÷{std:.3g}"
    assert made["weight"].source == "override; Mishkin & Matas 2015, arXiv 1511.06422"
    assert made["weight"].std == pytest.approx(0.5 / std, rel=1e-6)
    assert made.recipe == "he + LSUV"


@pytest.mark.parametrize("own", [False, True], ids=["one width", "widths of their own"])
def test_attention_is_scaled_block_by_block(noise, own):
    sizes = {"kdim": 6, "vdim": 5} if own else {}
    model = nn.MultiheadAttention(16, 2, batch_first=True, **sizes)
    batch = noise(8, 7, 16)
    batch = (batch, batch[..., :6] * 3, batch[..., :5] + 2) if own else (batch, batch * 3, batch.square())
    fanin.lsuv(model, batch, tolerance=0.0)
    weights = (model.q_proj_weight, model.k_proj_weight, model.v_proj_weight) if own else model.in_proj_weight.chunk(3)
    for signal, weight in zip(batch, weights, strict=True):
        assert abs(float((signal @ weight.T).detach().var(correction=0)) - 1) < EXACT
    output = model.eval()(*batch)[0]
    assert abs(float(output.detach().var(correction=0)) - 1) < EXACT


def test_self_attention_packs_three_blocks_into_one_product(noise):
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
    batch = noise(8, 7, 16)
    scale = torch.linspace(1, 4, 16)  # so that the blocks differ
    made = fanin.lsuv(layer, batch * scale, tolerance=0.0)
    for weight in layer.self_attn.in_proj_weight.chunk(3):
        assert abs(float(((batch * scale) @ weight.T).detach().var(correction=0)) - 1) < EXACT
    assert "in 3 packed blocks" in made["self_attn.in_proj_weight"].why


class Recurrent(nn.Module):
    def __init__(self, kind, **options):
        super().__init__()
        self.layer = kind(8, 12, num_layers=2, batch_first=True, **options)
        self.head = nn.Linear(12 * (2 if self.layer.bidirectional else 1), 3)

    def forward(self, x):
        return self.head(self.layer(x)[0][:, -1])


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize(("kind", "gates"), [(nn.LSTM, 4), (nn.GRU, 3), (nn.RNN, 1)])
def test_gates_of_recurrent_layers(noise, kind, gates, bidirectional):
    model, batch = Recurrent(kind, bidirectional=bidirectional), noise(16, 7, 8) * torch.linspace(1, 4, 8)
    made = fanin.lsuv(model, batch, tolerance=0.0)
    signal = batch
    for level in range(2):
        below = signal
        for side in ("", "_reverse")[: 1 + bidirectional]:
            weight = getattr(model.layer, f"weight_ih_l{level}{side}")
            for block in (below @ weight.T).chunk(gates, -1):
                assert abs(float(block.detach().var(correction=0)) - 1) < EXACT
        with torch.no_grad():  # the first layer by itself gives what the second one reads
            one = kind(8, 12, batch_first=True, bidirectional=bidirectional)
            own = {name: value for name, value in model.layer.state_dict().items() if "_l0" in name}
            one.load_state_dict(own)
            signal = one(batch)[0]
    out = model(batch).detach()
    assert abs(float(out.var(correction=0)) - 1) < EXACT
    assert "the recurrent matrix keeps its scale" in made["layer.weight_hh_l0"].why


def test_packed_sequences_and_projected_states(noise):
    class Packed(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.LSTM(8, 12, proj_size=5)

        def forward(self, x):
            packed = nn.utils.rnn.pack_padded_sequence(x, torch.tensor([7, 5, 2]))
            return self.layer(packed)[0].data

    model, batch = Packed(), noise(7, 3, 8)
    fanin.lsuv(model, batch, tolerance=0.0)
    rows = torch.cat([batch[: (7, 5, 2)[row], row] for row in range(3)])
    for block in (rows @ model.layer.weight_ih_l0.T).chunk(4, -1):
        assert abs(float(block.detach().var(correction=0)) - 1) < EXACT


def test_cells_are_scaled_at_their_first_step(noise):
    class Steps(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = nn.LSTMCell(8, 12)

        def forward(self, x):
            state = None
            for step in x.unbind(1):
                state = self.cell(step, state)
            return state[0]

    model, batch = Steps(), noise(64, 5, 8)
    made = fanin.lsuv(model, batch, tolerance=0.0)
    for block in (batch[:, 0] @ model.cell.weight_ih.T).chunk(4, -1):
        assert abs(float(block.detach().var(correction=0)) - 1) < EXACT
    assert made["cell.weight_ih"].why.endswith("(of 5 uses the first decides)")


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated:FutureWarning")
@pytest.mark.parametrize("new", [True, False], ids=["parametrization", "hook"])
def test_of_a_weight_norm_the_magnitude_is_scaled(noise, variances, same_bits, scrambled, new):
    norm = nn.utils.parametrizations.weight_norm if new else nn.utils.weight_norm
    model = nn.Sequential(norm(nn.Conv2d(3, 8, 3)), nn.ReLU(), norm(nn.Conv2d(8, 4, 3, bias=False)))
    batch = noise(8, 3, 9, 9)
    fresh = scrambled(model) if new else None
    made = fanin.lsuv(model, batch, tolerance=0.0)
    seen = variances(model, batch)
    assert max(abs(variance - 1) for variance in seen.values()) < EXACT
    direction = "0.parametrizations.weight.original1" if new else "0.weight_v"
    assert "only its direction counts" in made[direction].why
    if fresh is not None:
        assert same_bits(model, made, fresh) == []


def test_half_precision(noise, same_bits, scrambled):
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64)).to(torch.bfloat16)
    batch = noise(256, 64).to(torch.bfloat16)
    fresh = scrambled(model)
    made = fanin.lsuv(model, batch)
    hidden = model[0](batch)
    for out in (hidden, model(batch)):
        assert abs(float(out.detach().double().var(correction=0)) - 1) <= NEAR
    assert same_bits(model, made, fresh) == []


def test_a_cast_weight_stands_for_its_parameter(noise):
    class Cast(nn.Linear):
        def forward(self, x):
            return x @ self.weight.double().T

    model, batch = Cast(8, 64), noise(128, 8).double()
    fanin.lsuv(model, batch, tolerance=0.0)
    assert abs(float(model(batch).detach().var(correction=0)) - 1) < EXACT


def test_parts_of_a_parameter_used_one_by_one(noise, same_bits, scrambled):
    class Experts(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(3, 16, 8))

        def forward(self, x):
            return [F.linear(x * (expert + 1), self.weight[expert]) for expert in (0, 2)]

    model, batch = Experts(), noise(64, 8)
    fresh = scrambled(model)
    plan = fanin.plan(model, "native", batch).override({"weight": Normal(std=0.3)})
    made = fanin.lsuv(model, batch, plan=plan, tolerance=0.0)
    for out in model(batch):
        assert abs(float(out.detach().var(correction=0)) - 1) < EXACT
    assert (
        abs(float(model.weight[1].detach().std()) - 0.3) < 5 * 0.3 / (2 * 128) ** 0.5
    )  # nobody read the second expert
    assert same_bits(model, made, fresh) == []


def test_an_unbatched_image_is_one_sample(noise):
    model, image = nn.Conv2d(3, 8, 3), noise(3, 12, 12)
    fanin.lsuv(model, image, tolerance=0.0)
    assert abs(float(model(image).detach().var(correction=0)) - 1) < EXACT


def test_a_batch_of_one_has_a_variance_too(noise):
    model, batch = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 1)), noise(1, 8)
    made = fanin.lsuv(model, batch, tolerance=0.0)
    assert abs(float(model[0](batch).detach().var(correction=0)) - 1) < EXACT
    assert made["2.weight"].why.endswith("LSUV: kept: its output is zero on this batch")


def test_tables_whose_rows_are_shortened_at_each_lookup_are_kept(same_bits, scrambled):
    model, ids = nn.Sequential(nn.Embedding(50, 16, max_norm=0.5), nn.Linear(16, 32)), torch.arange(50)
    fresh = scrambled(model)
    made = fanin.lsuv(model, ids)
    assert made["0.weight"].why.endswith("kept: each lookup shortens its rows to max_norm, whatever their scale")
    assert same_bits(model, made, fresh) == []
    assert float(model(ids).detach().var(correction=0)) == pytest.approx(1, abs=0.01)
