"""A user's own module: each way of writing values is read as the law it is."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from fanin.initializers import (
    Constant,
    Dirac,
    Identity,
    Normal,
    Orthogonal,
    Sparse,
    TruncatedNormal,
    Uniform,
)
from fanin.initializers.blocks import Blocks
from fanin.plans import Plan
from fanin.plans.steps import Draw, Keep, Replay, Unknown
from fanin.torch.capture import capture
from fanin.torch.materialize import materialize


class Holder(nn.Module):
    """One parameter `w` made by a function."""

    def __init__(self, make):
        super().__init__()
        self.w = nn.Parameter(make())


def filled(shape, write, dtype=torch.float32):
    """A function that makes an empty tensor and writes into it."""

    def make():
        tensor = torch.empty(shape, dtype=dtype)
        write(tensor)
        return tensor

    return make


def timm_truncated(tensor, mean=0.0, std=1.0, low=-2.0, high=2.0):
    """The inverse-CDF form that vision models carry around."""
    first, last = ((1 + math.erf((x - mean) / std / math.sqrt(2))) / 2 for x in (low, high))
    tensor.uniform_(2 * first - 1, 2 * last - 1).erfinv_().mul_(std * math.sqrt(2)).add_(mean).clamp_(low, high)


def own_rejection(tensor):
    tensor.normal_(0, 2)
    while (tensor.abs() > 3).any():
        bad = tensor.abs() > 3
        tensor[bad] = torch.randn(int(bad.sum())) * 2


def own_uniform_rejection(tensor):
    tensor.uniform_(-1, 3)
    while ((tensor < -0.5) | (tensor > 2)).any():
        bad = (tensor < -0.5) | (tensor > 2)
        tensor[bad] = torch.rand(int(bad.sum())) * 4 - 1


def truncate_two_rows(tensor):
    tensor.zero_()
    nn.init.trunc_normal_(tensor[1:3], std=0.5, a=-1.0, b=1.0)


def write_rows(tensor):
    tensor.normal_()
    tensor[2:4] = 0.5
    tensor[0] *= 3


LAWS = {
    "randn times a number": (lambda: torch.randn(20, 30) * 0.02, Normal(0.0, 0.02)),
    "number times randn plus": (lambda: 0.5 - torch.randn(20, 30), Normal(0.5, 1.0)),
    "rand to -1..1": (lambda: torch.rand(20, 30) * 2 - 1, Uniform(-1.0, 1.0)),
    "rand over a number": (lambda: torch.rand(20, 30) / 4, Uniform(0.0, 0.25)),
    "1 - rand": (lambda: 1 - torch.rand(20, 30), Uniform(0.0, 1.0)),
    "negative": (lambda: -torch.rand(20, 30), Uniform(-1.0, 0.0)),
    "torch.normal": (lambda: torch.normal(1.0, 2.0, (20, 30)), Normal(1.0, 2.0)),
    "randn transposed": (lambda: torch.randn(30, 20).t().contiguous(), Normal(0.0, 1.0)),
    "to bfloat16": (lambda: (torch.randn(20, 30) * 0.1).bfloat16(), Normal(0.0, 0.1)),
    "scaled by a tensor": (lambda: torch.randn(20, 30) / torch.sqrt(torch.tensor(16.0)), Normal(0.0, 0.25)),
    "ones times a number": (lambda: 1e-5 * torch.ones(7), Constant(float(np.float32(1e-5)))),
    "filled with infinity": (lambda: torch.full((3,), 0.5).fill_(-math.inf), Constant(-math.inf)),
    "full": (lambda: torch.full((3, 4), 0.25), Constant(0.25)),
    "log of ones": (lambda: torch.log(2 * torch.ones(5)), Constant(float(np.log(np.float32(2))))),
    "trunc_normal_": (
        filled((20, 30), lambda t: nn.init.trunc_normal_(t, std=0.02)),
        TruncatedNormal.absolute(0.0, 0.02, -2.0, 2.0),
    ),
    "trunc_normal_ one-sided tail": (
        filled((20, 30), lambda t: nn.init.trunc_normal_(t, 0.0, 1.0, 2.0, 3.0)),
        TruncatedNormal.absolute(0.0, 1.0, 2.0, 3.0),
    ),
    "own rejection loop": (filled((20, 30), own_rejection), TruncatedNormal.absolute(0.0, 2.0, -3.0, 3.0)),
    "own rejection loop on uniform values": (filled((20, 30), own_uniform_rejection), Uniform(-0.5, 2.0)),
    "trunc_normal_ of two rows": (
        filled((6, 40), truncate_two_rows),
        Blocks(Constant(0), (((1, 0), (2, 40), TruncatedNormal.absolute(0.0, 0.5, -1.0, 1.0)),)),
    ),
    "orthogonal_": (filled((6, 4, 3), lambda t: nn.init.orthogonal_(t, 1.5)), Orthogonal(1.5)),
    "orthogonal_ wide": (filled((4, 9), nn.init.orthogonal_), Orthogonal(1.0)),
    "orthogonal_ of the transpose": (filled((9, 4), lambda t: nn.init.orthogonal_(t.t())), Orthogonal(1.0, rows=(1,))),
    "orthogonal_ in bfloat16": (
        lambda: nn.init.orthogonal_(torch.empty(6, 4)).to(torch.bfloat16),
        Orthogonal(1.0),
    ),
    "sparse_": (filled((20, 6), lambda t: nn.init.sparse_(t, 0.3)), Sparse(0.3)),
    "eye_": (filled((5, 3), nn.init.eye_), Identity()),
    "torch.eye": (lambda: torch.eye(4), Identity()),
    "dirac_": (filled((6, 2, 3, 3), lambda t: nn.init.dirac_(t, 3)), Dirac(groups=3, centre="torch")),
    "rows overwritten": (
        filled((6, 4), write_rows),
        Blocks(Normal(), (((2, 0), (2, 4), Constant(0.5)), ((0, 0), (1, 4), Normal(0.0, 3.0)))),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LAWS)
def test_values_are_read_as_their_law(name, agrees_with_constructor):
    make, law = LAWS[name]
    assert capture(lambda: Holder(make)).plan["w"].initializer == law
    agrees_with_constructor(lambda: Holder(make))


def test_inverse_cdf_form_is_a_truncated_normal(agrees_with_constructor):
    factory = lambda: Holder(filled((40, 50), lambda t: timm_truncated(t, 0.1, 0.5, -0.4, 0.6)))  # noqa: E731
    law = agrees_with_constructor(factory).plan["w"].initializer
    assert isinstance(law, TruncatedNormal)
    assert (law.mean, law.std) == (0.1, pytest.approx(0.5))
    assert (law.lower, law.upper) == (pytest.approx(-1.0), pytest.approx(1.0))


def test_wide_inverse_cdf_form_is_untruncated():
    law = capture(lambda: Holder(filled((4, 5), lambda t: timm_truncated(t, std=0.02)))).plan["w"].initializer
    assert (law.std, law.lower, law.upper, law.corrected) == (pytest.approx(0.02), -100.0, 100.0, False)


class Packed(nn.Module):
    """Three matrices in one parameter, a forget gate, and a padding row."""

    def __init__(self):
        super().__init__()
        self.qkv = nn.Parameter(torch.empty(30, 10))
        for block in self.qkv.data.chunk(3):
            nn.init.xavier_uniform_(block)
        self.gates = nn.Parameter(torch.empty(24, 6))
        for start in range(0, 24, 6):
            nn.init.orthogonal_(self.gates.data[start : start + 6])
        self.lstm = nn.LSTM(4, 8)
        with torch.no_grad():
            self.lstm.bias_ih_l0[8:16].fill_(1.0)
        self.embedding = nn.Embedding(12, 5, padding_idx=2)


def test_parts_are_blocks(agrees_with_constructor):
    plan = agrees_with_constructor(Packed).plan
    law = Uniform(-math.sqrt(6 / 20), math.sqrt(6 / 20))
    assert plan["qkv"].initializer == Blocks(Constant(0.0), tuple(((10 * i, 0), (10, 10), law) for i in range(3)))
    gates = plan["gates"].initializer
    assert gates.parts[1] == ((6, 0), (6, 6), Orthogonal(1.0))
    bound = 1 / math.sqrt(8)
    assert plan["lstm.bias_ih_l0"].initializer == Blocks(Uniform(-bound, bound), (((8,), (8,), Constant(1.0)),))
    assert plan["embedding.weight"].initializer == Blocks(Normal(), (((2, 0), (1, 5), Constant(0)),))
    assert "fill_(0)" in plan["embedding.weight"].why
    written = materialize(Packed(), plan)
    gate = written.gates[6:12].detach()
    assert torch.allclose(gate @ gate.T, torch.eye(6), atol=1e-5)
    assert not torch.equal(written.gates[:6], written.gates[6:12])


class Computed(nn.Module):
    """Values without chance, and values computed from chance."""

    def __init__(self):
        super().__init__()
        position = torch.arange(10).unsqueeze(1)
        rate = torch.exp(torch.arange(0, 6, 2) * (-math.log(10000.0) / 6))
        table = torch.empty(10, 6)
        table[:, 0::2] = torch.sin(position * rate)
        table[:, 1::2] = torch.cos(position * rate)
        self.register_buffer("table", table.unsqueeze(0), persistent=False)
        self.register_buffer("mask", torch.tril(torch.ones(5, 5, dtype=torch.bool)))
        self.register_buffer("expanded", torch.arange(4).expand(1, -1))
        self.register_buffer("scalar", torch.tensor(3.5))
        self.register_buffer("listed", torch.tensor([3, 1, 2]))
        self.register_buffer("array", torch.from_numpy(np.linspace(0, 1, 7)))
        self.register_buffer("zero_stride", torch.zeros(1).expand(6))
        self.register_buffer("complex", torch.polar(torch.ones(4), torch.arange(4.0)))
        self.a_log = nn.Parameter(torch.log(torch.arange(1, 9, dtype=torch.float32).repeat(3, 1)))
        step = torch.exp(torch.rand(40) * (math.log(0.1) - math.log(0.001)) + math.log(0.001)).clamp(min=1e-4)
        self.dt_bias = nn.Parameter(step + torch.log(-torch.expm1(-step)))
        self.register_buffer("order", torch.randperm(12))
        self.register_buffer("flips", torch.empty(4000).bernoulli_(0.25))
        self.register_buffer("digits", torch.randint(2, 7, (4000,)))
        self.waits = nn.Parameter(torch.empty(4000).exponential_(2.0))
        self.rates = [x.item() for x in torch.linspace(0, 0.3, 4)]


def test_computed_values_are_replayed_exactly(agrees_with_constructor):
    plan = agrees_with_constructor(Computed).plan
    replayed = ("table", "mask", "expanded", "listed", "array", "complex", "a_log")
    assert all(isinstance(plan[name].action, Replay) for name in replayed)
    assert plan["scalar"].initializer == Constant(3.5)


def test_values_computed_from_chance_follow_their_law():
    captured = capture(Computed)
    model = materialize(captured.model, captured.plan, seed=5)
    softplus = torch.nn.functional.softplus(model.dt_bias.detach())
    assert 1e-3 * 0.999 < float(softplus.min()) < float(softplus.max()) < 0.1 * 1.001
    assert sorted(model.order.tolist()) == list(range(12))
    assert set(model.flips.tolist()) == {0.0, 1.0}
    assert abs(float(model.flips.mean()) - 0.25) < 5 * math.sqrt(0.25 * 0.75 / 4000)
    assert model.digits.unique().tolist() == [2, 3, 4, 5, 6]
    assert abs(float(model.waits.detach().mean()) - 0.5) < 5 * 0.5 / math.sqrt(4000)
    assert model.rates == pytest.approx([0.0, 0.1, 0.2, 0.3])


class OtherDefault(nn.Module):
    """Made while another default dtype holds, as transformers does for `dtype=` of a config."""

    def __init__(self):
        super().__init__()
        usual = torch.get_default_dtype()
        torch.set_default_dtype(torch.bfloat16)
        try:
            self.register_buffer("steps", torch.arange(0.0, 3.0, 0.3).cumsum(0))
            self.register_buffer("ratio", torch.arange(7) / 3)
            self.register_buffer("chain", (torch.arange(50) / 3).sqrt() * 7.1)
            self.w = nn.Parameter(torch.randn(30, 40))
        finally:
            torch.set_default_dtype(usual)


def test_replay_does_not_depend_on_the_default_dtype(agrees_with_constructor):
    assert agrees_with_constructor(OtherDefault).plan["steps"].dtype == "bfloat16"


def test_plan_survives_json_and_draws_the_same_bits():
    for factory in (Computed, Packed, lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(5, 6))):
        captured = capture(factory)
        again = Plan.from_json(captured.plan.to_json())
        assert again == captured.plan
        first = materialize(factory(), captured.plan, seed=9).state_dict()
        second = materialize(captured.model, again, seed=9).state_dict()
        assert all(torch.equal(first[name], second[name]) for name in first)


class Copies(nn.Module):
    """A deep copy, a momentum twin, a tied weight, a slice of a shared draw, and a norm of a draw."""

    def __init__(self):
        super().__init__()
        layer = nn.Linear(6, 7)
        self.stack = nn.ModuleList([copy.deepcopy(layer) for _ in range(3)])
        self.online = nn.Linear(7, 5)
        self.target = copy.deepcopy(self.online)
        self.target.weight.data.copy_(self.online.weight.data)
        self.tied = nn.Linear(7, 5, bias=False)
        self.tied.weight = self.online.weight
        q, k = torch.randn(8, 5).chunk(2)
        self.q, self.k = nn.Parameter(q.clone()), nn.Parameter(k.clone())
        self.norm = nn.Parameter(self.online.weight.detach().norm(dim=1))
        draw = torch.rand(9)
        self.low, self.high = nn.Parameter(draw * 0.5), nn.Parameter(draw + 1.0)


def test_copies_stay_copies(agrees_with_constructor):
    captured = agrees_with_constructor(Copies)
    plan, model = captured.plan, captured.model
    assert isinstance(plan["stack.0.weight"].action, Draw)
    assert plan["stack.2.weight"].why == "a copy of stack.0.weight"
    assert torch.equal(model.stack[0].weight, model.stack[2].weight)
    assert torch.equal(model.online.weight, model.target.weight)
    assert model.tied.weight is model.online.weight
    assert plan["online.weight"].aliases == ("tied.weight",)
    assert plan["q"].initializer == plan["k"].initializer == Normal()
    assert not torch.equal(model.q, model.k)
    assert torch.allclose(model.norm, model.online.weight.norm(dim=1))
    assert torch.allclose(model.low * 2, model.high - 1, atol=1e-6)


def test_a_copy_follows_an_override():
    captured = capture(Copies)
    model = materialize(captured.model, captured.plan.override({"stack.0.weight": Constant(2.0)}))
    assert bool((model.stack[2].weight == 2).all())


class Loose(nn.Module):
    """Tensors that are neither parameters nor buffers, and parameters in plain lists."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(3))
        self.w.mark = "kept"
        self.by_hand = [self.w, {"w": self.w}]
        self.frequencies = torch.arange(4.0) / 4
        self.noise = torch.randn(3)
        self.frozen = nn.Parameter(torch.ones(2), requires_grad=False)


def test_plain_attributes_are_real_or_said_to_be_lost():
    captured = capture(Loose)
    model = captured.model
    assert type(model.w) is nn.Parameter
    assert model.w.mark == "kept"
    assert model.by_hand[0] is model.w
    assert model.by_hand[1]["w"] is model.w
    assert torch.equal(model.frequencies, torch.arange(4.0) / 4)
    assert model.noise.is_meta
    assert captured.plan.notes == ("attribute noise holds a tensor that is no parameter or buffer and has no values",)
    assert not model.frozen.requires_grad
    materialize(model, captured.plan)
    assert model.by_hand[0] is model.w
    assert model.by_hand[0].device.type == "cpu"


def test_what_nobody_wrote_is_unknown_with_a_reason():
    step = capture(lambda: Holder(lambda: torch.empty(3))).plan["w"]
    assert isinstance(step.action, Unknown)
    assert step.why == "allocated without values (torch.empty); the constructor never wrote all of it"
    half = capture(lambda: Holder(filled((4, 2), lambda t: t[:2].zero_()))).plan["w"]
    assert isinstance(half.action, Unknown)


def test_an_existing_module_is_kept_and_not_touched():
    existing = nn.Linear(3, 4)
    before = existing.weight.clone()

    def factory():
        model = nn.Sequential(existing, nn.Linear(4, 2))
        nn.init.zeros_(existing.bias)
        return model

    captured = capture(factory)
    assert isinstance(captured.plan["0.weight"].action, Keep)
    assert captured.plan["0.weight"].why == "made before the constructor ran; its values stay"
    assert captured.plan["0.bias"].initializer == Constant(0.0)
    assert torch.equal(existing.weight, before)
    assert not torch.equal(existing.bias, torch.zeros(4))
    materialize(captured.model, captured.plan)
    assert torch.equal(existing.bias, torch.zeros(4))


def test_large_existing_data_is_kept_in_the_model():
    table = np.random.default_rng(0).normal(size=(300, 200))
    captured = capture(lambda: Holder(lambda: torch.from_numpy(table).float()))
    step = captured.plan["w"]
    assert isinstance(step.action, Keep)
    assert "480,000 bytes of data that the constructor read" in step.why
    model = materialize(captured.model, captured.plan)
    assert torch.equal(model.w.detach(), torch.from_numpy(table).float())


class ThroughData(nn.Module):
    """Writes that go around autograd: through `.data`, through `detach()`, and a new `.data`."""

    def __init__(self):
        super().__init__()
        self.all = nn.Parameter(torch.zeros(30, 4))
        self.all.data.normal_(0, 0.5)
        self.row = nn.Parameter(torch.zeros(5, 40))
        self.row.data[1].uniform_(2, 3)
        self.detached = nn.Parameter(torch.randn(6))
        self.detached.detach().fill_(4.0)
        self.other = nn.Parameter(torch.zeros(7, 9))
        self.other.data = torch.ones(7, 9) * 3
        self.scaled = nn.Parameter(torch.ones(3))
        self.scaled.data.mul_(2).add_(1)
        self.register_buffer("count", torch.zeros(3, dtype=torch.int64))
        self.count.data += 5


def test_writes_through_data_are_followed(agrees_with_constructor):
    plan = agrees_with_constructor(ThroughData).plan
    assert plan["all"].initializer == Normal(0.0, 0.5)
    assert plan["row"].initializer == Blocks(Constant(0.0), (((1, 0), (1, 40), Uniform(2.0, 3.0)),))
    laws = {name: plan[name].initializer for name in ("detached", "other", "scaled", "count")}
    assert laws == {name: Constant(value) for name, value in zip(laws, (4.0, 3.0, 3.0, 5), strict=True)}


def overlapping_uniform(low, high):
    """A loop that draws from U(−1, 3) until all lies between the bounds, of which one may be wider."""

    def write(tensor):
        tensor.uniform_(-1, 3)
        while ((tensor < low) | (tensor > high)).any():
            bad = (tensor < low) | (tensor > high)
            tensor[bad] = torch.rand(int(bad.sum())) * 4 - 1

    return write


@pytest.mark.parametrize(
    ("low", "high", "law"),
    [(-5.0, 2.0, (-1.0, 2.0)), (0.5, 9.0, (0.5, 3.0)), (0.5, 2.0, (0.5, 2.0)), (-5.0, 9.0, (-1.0, 3.0))],
)
def test_uniform_rejection_ends_within_both_bounds(low, high, law, agrees_with_constructor):
    factory = lambda: Holder(filled((30, 40), overlapping_uniform(low, high)))  # noqa: E731
    assert agrees_with_constructor(factory).plan["w"].initializer == Uniform(*law)
