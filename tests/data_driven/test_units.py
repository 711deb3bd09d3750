"""Krähenbühl's and weight norm's initialization: mean and deviation of each unit, and the balance between layers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import fanin
from fanin import data_driven
from fanin.errors import ArgumentError, DataError
from fanin.initializers import Blocks, Cycle, Normal, Scaled, Zeros

EXACT = 2e-5


def convolutional():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 12, 3, groups=4), nn.ReLU(), nn.Flatten(), nn.Linear(12 * 25, 5)
    )


def statistics(out):
    others = [dim for dim in range(out.dim()) if dim != 1]
    return out.mean(others), out.std(others, correction=0)


@pytest.mark.parametrize("bias", [0.0, 0.1])
def test_each_unit_has_mean_beta_and_deviation_one(noise, outputs, same_bits, scrambled, bias):
    model, batch = convolutional(), noise(16, 3, 9, 9) + 0.5
    fresh = scrambled(model)
    made = data_driven.within_layer(model, batch, bias=bias, between=False)
    for out in outputs(model, batch).values():
        mean, std = statistics(out)
        assert float((mean - bias).abs().max()) < EXACT
        assert float((std - 1).abs().max()) < EXACT
    assert isinstance(made["0.weight"].initializer, Scaled)
    assert made["0.weight"].initializer.grid == (8, 1, 1, 1)
    assert isinstance(made["0.bias"].initializer, Cycle)
    assert same_bits(model, made, fresh) == []


def ratios(model, batch, loss):
    weights = [parameter for parameter in model.parameters() if parameter.dim() > 1]
    pairs = zip(torch.autograd.grad(loss(model(batch)), weights), weights, strict=True)
    return torch.stack([(g.square().mean() / w.detach().square().mean()).sqrt() for g, w in pairs])


def test_between_layers_gradients_are_in_one_proportion(noise, same_bits, scrambled):
    model, batch = convolutional().eval(), noise(16, 3, 9, 9) + 0.5
    fresh, labels = scrambled(model), torch.arange(16) % 5
    loss = lambda out: nn.functional.cross_entropy(out, labels)  # noqa: E731
    data_driven.within_layer(model, batch, loss=loss, between=False)
    before, output = ratios(model, batch, loss), model(batch).detach()
    assert float(before.max() / before.min()) > 1.2
    made = data_driven.within_layer(model, batch, loss=loss)
    after = ratios(model, batch, loss)
    assert float((after / after.log().mean().exp() - 1).abs().max()) <= 0.01
    assert float((model(batch).detach() - output).abs().max()) < 1e-3  # homogeneous: the output stays
    assert made.notes[-1] == "within-layer: the layers' gradient ratios are within 0.0% of their mean"
    assert same_bits(model, made, fresh) == []


def test_where_the_balance_is_not_reached_it_is_said(noise):
    model, batch = nn.Sequential(nn.Linear(8, 32), nn.Sigmoid(), nn.Linear(32, 4)), noise(64, 8)
    made = data_driven.within_layer(model, batch, rounds=0)
    seen = ratios(model, batch, lambda out: (out * torch.ones(4)).sum())
    assert made.notes[-1].startswith("within-layer: the layers' gradient ratios are within ")
    assert not made.notes[-1].endswith("within 0.0% of their mean")
    assert seen.isfinite().all()


@pytest.mark.parametrize("activation", [nn.Sigmoid, nn.Tanh])
def test_the_balance_keeps_the_deviation_of_the_output(noise, activation):
    model = nn.Sequential(nn.Linear(8, 32), activation(), nn.Linear(32, 32), activation(), nn.Linear(32, 4))
    batch = noise(64, 8)
    data_driven.within_layer(model, batch)
    assert float(model(batch).detach().std(0, correction=0).mean()) == pytest.approx(1, abs=0.025)


def test_units_that_are_constant_are_kept_and_said(noise):
    model, batch = nn.Linear(8, 3), noise(64, 8)
    batch[:, :4] = 0
    law = Blocks(Normal(), (((1, 0), (1, 8), Zeros()),))
    plan = fanin.plan(model, "he", batch).override({"weight": law})
    made = data_driven.within_layer(model, batch, plan=plan, between=False, bias=0.1)
    mean, std = statistics(model(batch).detach())
    assert std[1] == 0
    assert float((std[[0, 2]] - 1).abs().max()) < EXACT
    assert float((mean - 0.1).abs().max()) < EXACT
    assert made["weight"].why.endswith("; 1 units constant, kept")


def test_one_value_per_unit_has_no_deviation(noise, state):
    model = nn.Linear(8, 3)
    before = state(model)
    with pytest.raises(DataError, match="'weight' gives one value per unit on this batch: a unit's mean and deviation"):
        data_driven.within_layer(model, noise(1, 8))
    assert all(torch.equal(tensor, before[name]) for name, tensor in state(model).items())


@pytest.mark.parametrize("options", [{"bias": float("nan")}, {"rounds": -1}, {"tolerance": 0.0}])
def test_numbers_out_of_range(noise, options):
    with pytest.raises(ArgumentError, match="within_layer: bias must be finite"):
        data_driven.within_layer(nn.Linear(8, 3), noise(8, 8), **options)


def normed():
    norm = nn.utils.parametrizations.weight_norm
    return nn.Sequential(norm(nn.Conv2d(3, 8, 3)), nn.ReLU(), norm(nn.Conv2d(8, 6, 3)), nn.Flatten(), nn.Linear(150, 5))


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_weight_norm_gives_each_unit_mean_zero_and_the_deviation(noise, outputs, same_bits, scrambled, scale):
    model, batch = normed(), noise(16, 3, 9, 9) + 0.5
    fresh = scrambled(model)
    made = data_driven.weight_norm(model, batch, scale=scale, std=0.05)
    seen = outputs(model, batch)
    for name in ("0", "2"):
        mean, std = statistics(seen[name])
        assert float(mean.abs().max()) < EXACT
        assert float((std - scale).abs().max()) < EXACT
    direction = made["0.parametrizations.weight.original1"]
    assert direction.std == 0.05
    values = model[0].parametrizations.weight.original1.detach()
    assert abs(float(values.std()) - 0.05) < 5 * 0.05 / (2 * values.numel()) ** 0.5
    assert made["4.weight"].why.endswith("weight norm: kept: not weight-normed")
    assert same_bits(model, made, fresh) == []


def test_a_model_without_weight_norm_is_refused(noise):
    with pytest.raises(DataError, match="no layer of Linear is weight-normed: wrap its layers with"):
        data_driven.weight_norm(nn.Linear(8, 3), noise(8, 8))
    with pytest.raises(ArgumentError, match="scale and std must be positive numbers, got 0 and"):
        data_driven.weight_norm(normed(), noise(8, 3, 9, 9), scale=0)
