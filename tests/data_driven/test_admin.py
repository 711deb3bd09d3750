"""Admin: the factor of each residual sum is the deviation that the sums before it add up to."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fanin import data_driven
from fanin.errors import DataError
from fanin.initializers import Constant


class Layer(nn.Module):
    """Post-norm, with a vector and a scalar in front of its streams."""

    def __init__(self, width, *, pre=False, factors=True):
        super().__init__()
        self.attend = nn.MultiheadAttention(width, 2, batch_first=True)
        self.feed = nn.Sequential(nn.Linear(width, 4 * width), nn.ReLU(), nn.Linear(4 * width, width))
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.pre = pre
        self.alpha = nn.Parameter(torch.full((width,), 0.3)) if factors else 1.0
        self.beta = nn.Parameter(torch.tensor(0.7)) if factors else 1.0

    def branches(self, x):
        yield lambda x: self.attend(x, x, x)[0], self.first, self.alpha
        yield self.feed, self.second, self.beta

    def forward(self, x):
        for branch, norm, factor in self.branches(x):
            if self.pre:
                x = x + branch(norm(x))
            else:
                x = norm(x * factor + branch(x) if torch.is_tensor(factor) else x + branch(x))
        return x


def stack(**options):
    return nn.Sequential(*[Layer(16, **options) for _ in range(3)])


def profile(model, x, factors=None):
    """The factors by the paper's recursion, computed layer by layer; `factors` are those the model applies."""
    running, found = 1.0, []
    with torch.no_grad():
        for layer in model.eval():
            for branch, norm, factor in layer.branches(x):
                out = branch(x)
                found.append(running)
                applied = factor if torch.is_tensor(factor) else 1.0
                running = float((running**2 * x.var(correction=0) + out.var(correction=0)) ** 0.5)
                x = norm(applied * x + out)
    return found


def test_the_models_own_factors_are_set(noise, same_bits, scrambled):
    model, batch = stack(), noise(8, 5, 16)
    fresh = scrambled(model)
    made = data_driven.admin(model, batch)
    expected = profile(model, batch)
    names = [f"{layer}.{name}" for layer in range(3) for name in ("alpha", "beta")]
    assert [made[name].initializer.value for name in names] == pytest.approx(expected, rel=1e-5)
    assert all(isinstance(made[name].initializer, Constant) for name in names)
    assert expected[0] == 1.0
    assert expected == sorted(expected)
    assert expected[-1] > 1.5
    held = dict(model.named_parameters())
    assert all(torch.equal(held[name], torch.full_like(held[name], made[name].initializer.value)) for name in names)
    assert same_bits(model, made, fresh) == []


def test_without_factors_in_the_model_they_are_told(noise):
    model, batch = stack(factors=False), noise(8, 5, 16)
    made = data_driven.admin(model, batch)
    expected = profile(model, batch)
    told = [note for note in made.notes if note.startswith("Admin: ω")]
    names = [f"{layer}.{name}" for layer in range(3) for name in ("attend.out_proj.weight", "feed.2.weight")]
    assert told == [
        f"Admin: ω of the sum after {name} = {factor:.4g}; the model has no parameter for it"
        for name, factor in zip(names, expected, strict=True)
    ]
    assert made["2.feed.2.weight"].why.endswith(told[-1].removeprefix("Admin: "))


def test_torchs_own_post_norm_encoder(noise):
    model = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), 2, enable_nested_tensor=False
    )
    made = data_driven.admin(model, noise(8, 5, 16))
    assert sum(note.startswith("Admin: ω of the sum") for note in made.notes) == 4


def test_a_frozen_factor_is_kept(noise):
    model, batch = stack(), noise(8, 5, 16)
    model[0].beta.requires_grad_(False)
    made = data_driven.admin(model, batch)
    assert float(model[0].beta) == pytest.approx(0.7)
    assert made.notes[-5].endswith("; 0.beta is kept")


def test_sums_without_a_norm_between_are_refused(noise, state):
    model, batch = stack(pre=True, factors=False), noise(8, 5, 16)
    before = state(model)
    with pytest.raises(DataError, match="adds to another sum without a norm between: Admin is for post-norm"):
        data_driven.admin(model, batch)
    with pytest.raises(DataError, match="Sequential has no residual sums: Admin has nothing to weigh there"):
        data_driven.admin(nn.Sequential(nn.Linear(16, 16), nn.ReLU()), batch)
    assert all(torch.equal(tensor, before[name]) for name, tensor in state(model).items())
