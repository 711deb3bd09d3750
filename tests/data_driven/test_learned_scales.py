"""MetaInit and GradInit change scales alone, and bring down what they promise to."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import fanin
from fanin import data_driven
from fanin.data_driven.meta import gradient_quotient
from fanin.errors import ArgumentError, DataError

LABELS = torch.arange(30) % 4


def network():
    return nn.Sequential(nn.Linear(8, 24), nn.ReLU(), nn.Linear(24, 24), nn.Tanh(), nn.Linear(24, 4))


def drawn(plan):
    return fanin.materialize(network(), plan, 0)


def test_the_gradient_quotient_of_a_quadratic_is_known():
    hessian = torch.tensor([[2.0, 0.5], [0.5, -1.0]], dtype=torch.float64)
    x = torch.tensor([0.3, -0.7], dtype=torch.float64, requires_grad=True)
    g = hessian @ x.detach()
    sign = torch.where(g >= 0, 1.0, -1.0)
    expected = ((g - hessian @ g) / (g + 1e-5 * sign) - 1).abs().sum() / 2
    assert float(gradient_quotient(x @ hessian @ x / 2, [x]).detach()) == pytest.approx(float(expected), rel=1e-12)


def test_a_gradient_of_zero_counts_as_positive():
    x = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    assert float(gradient_quotient((x**2).sum(), [x], 1e-5).detach()) == pytest.approx(1.0)


def test_metainit_lowers_the_quotient_and_keeps_directions(noise, same_bits, scrambled):
    model, batch = network(), noise(30, 8)
    start = fanin.plan(model, "lecun", batch)
    laws = {"0.weight": fanin.initializers.Normal(std=2.0), "4.weight": fanin.initializers.Normal(std=0.01)}
    start = start.override(laws)
    first, fresh = drawn(start), scrambled(model)
    made = data_driven.metainit(model, batch, LABELS, steps=60, plan=start)

    def quotient(model):
        weights = [parameter for parameter in model.parameters() if parameter.dim() > 1]
        loss = nn.functional.cross_entropy(model(batch), LABELS)
        return float(gradient_quotient(loss, weights).detach())

    assert quotient(model) < 0.9 * quotient(first)
    told = next(note for note in made.notes if note.startswith("MetaInit: gradient quotient"))
    assert f"{quotient(first):.4g} → {quotient(model):.4g}" in told
    for (name, now), before in zip(model.named_parameters(), first.parameters(), strict=True):
        if now.dim() > 1:
            cosine = nn.functional.cosine_similarity(now.flatten(), before.flatten(), dim=0)
            assert float(cosine.detach()) == pytest.approx(1, abs=1e-6)
            assert not torch.equal(now, before)
        else:
            assert torch.equal(now, before), name
    assert same_bits(model, made, fresh) == []


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_gradinit_lowers_the_loss_after_a_step(noise, same_bits, scrambled, optimizer):
    model, batch = network(), noise(30, 8)
    start = fanin.plan(model, "lecun", batch)
    first, fresh = drawn(start), scrambled(model)
    eta = 0.1 if optimizer == "sgd" else 0.01
    made = data_driven.gradinit(model, batch, LABELS, steps=40, lr=0.03, optimizer=optimizer, eta=eta, plan=start)

    def after(model):
        weights = dict(model.named_parameters())
        loss = nn.functional.cross_entropy(model(batch[:20]), LABELS[:20])
        slopes = torch.autograd.grad(loss, list(weights.values()))
        moves = (slope if optimizer == "sgd" else slope.sign() for slope in slopes)
        stepped = {name: w - eta * move for (name, w), move in zip(weights.items(), moves, strict=True)}
        out = torch.func.functional_call(model, stepped, (batch[10:],))
        return float(nn.functional.cross_entropy(out, LABELS[10:]).detach())

    assert after(model) < after(first) - 0.01
    assert f"{after(first):.4g} → {after(model):.4g} in 40 steps" in made.notes[-1]
    for now, before in zip(model.parameters(), first.parameters(), strict=True):
        if before.dim() > 1:
            scale = (now / before).detach()
            assert float(scale.std() / scale.mean()) < 1e-6
            assert float(scale.mean()) >= 0.01
    assert same_bits(model, made, fresh) == []


def test_gradinit_lowers_a_gradient_above_its_bound(noise):
    batch = noise(30, 8)

    def norm(model):
        loss = nn.functional.cross_entropy(model(batch[:20]), LABELS[:20])
        return math.sqrt(sum(float(g.square().sum()) for g in torch.autograd.grad(loss, list(model.parameters()))))

    free, bound = network(), network()
    start = fanin.plan(free, "lecun", batch).override({"4.weight": fanin.initializers.Normal(std=0.05)})
    data_driven.gradinit(free, batch, LABELS, steps=20, lr=0.03, plan=start)
    data_driven.gradinit(bound, batch, LABELS, steps=20, lr=0.03, plan=start, gamma=0.01)
    assert norm(bound) < 0.8 * norm(free)
    assert norm(bound) < 0.8 * norm(drawn(start))


def test_tied_weights_have_one_scale(noise):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.head = nn.Embedding(9, 6), nn.Linear(6, 9, bias=False)
            self.head.weight = self.table.weight

        def forward(self, ids):
            return self.head(self.table(ids).tanh())

    ids = torch.arange(30) % 9
    for verb in (data_driven.metainit, data_driven.gradinit):
        model = Tied()
        made = verb(model, ids, ids, steps=3)
        assert model.head.weight is model.table.weight
        assert len(made.steps) == 1


def test_frozen_tensors_are_kept_and_said(noise):
    model, batch = network(), noise(30, 8)
    model[0].weight.requires_grad_(False)
    for verb, name in ((data_driven.metainit, "MetaInit"), (data_driven.gradinit, "GradInit")):
        made = verb(model, batch, LABELS, steps=2)
        assert made["0.weight"].why.endswith(f"{name}: kept: frozen (requires_grad is False)")
        assert f"{name}: kept: 0.weight" in made.notes


def test_what_cannot_be_learned_is_refused(noise, state):
    model, batch = network(), noise(30, 8)
    before = state(model)
    with pytest.raises(ArgumentError, match="metainit needs a loss"):
        data_driven.metainit(model, batch, None)
    with pytest.raises(
        ArgumentError, match=r"steps and epsilon must be positive, lr and momentum finite, got 0, 1e-05, 0\.1 and"
    ):
        data_driven.metainit(model, batch, LABELS, steps=0)
    with pytest.raises(ArgumentError, match="gradinit: optimizer must be 'sgd' or 'adam', got 'lion'"):
        data_driven.gradinit(model, batch, LABELS, optimizer="lion")
    with pytest.raises(ArgumentError, match="gradinit: eta, lr must be a positive number"):
        data_driven.gradinit(model, batch, LABELS, eta=0.0, lr=float("nan"))
    for options in ({"steps": 2.5}, {"least": float("nan")}, {"least": -1.0}):
        with pytest.raises(ArgumentError, match="gradinit: steps must be an integer and least a number from 0"):
            data_driven.gradinit(model, batch, LABELS, **options)
    with pytest.raises(DataError, match="gradinit needs three samples or more"):
        data_driven.gradinit(model, batch[:2], LABELS[:2])
    with pytest.raises(DataError, match="no parameter of Sequential may be scaled: all are frozen, kept or of other"):
        data_driven.metainit(nn.Sequential(nn.LayerNorm(8)), batch, lambda out: out.square().mean())
    with pytest.raises(DataError, match="the loss has no second derivatives"):
        data_driven.metainit(model, batch, lambda out: nn.functional.multi_margin_loss(out, LABELS, p=2), steps=1)
    assert all(torch.equal(tensor, before[name]) for name, tensor in state(model).items())
