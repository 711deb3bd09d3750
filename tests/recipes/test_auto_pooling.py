"""`auto` through real layers with pooling: what is read off the code, and the signal that comes out."""

from __future__ import annotations

from math import sqrt

import pytest
import torch
from torch import nn

from fanin.gains import critical_point, operating_point, pooled_second_moment, response
from fanin.torch.planning import initialize, plan
from fanin.torch.trace import trace

IMAGE = torch.zeros(2, 3, 16, 16)
MAPS = nn.Flatten()


def around(*between, channels=8, sides=8):
    """A convolution, what lies between, and a dense layer."""
    head = (MAPS, nn.Linear(channels * sides**2, 10)) if sides else (MAPS, nn.Linear(channels, 10))
    return nn.Sequential(nn.Conv2d(3, channels, 3, padding=1), *between, *head)


def windows(model, inputs=IMAGE):
    use = next(use for use in trace(model, inputs).uses if use.tensor.startswith(f"{len(model) - 1}.w"))
    return use.reads, use.largest_of, use.mean_of


class Mean(nn.Module):
    def forward(self, x):
        return x.mean((2, 3))


POOLS = {
    "max 2×2": (around(nn.ReLU(), nn.MaxPool2d(2)), ("relu", 4, 1)),
    "max before the nonlinearity": (around(nn.MaxPool2d(2), nn.ReLU()), ("relu", 4, 1)),
    "max of overlapping windows": (around(nn.GELU(), nn.MaxPool2d(3, 2, 1)), ("gelu", 9, 1)),
    "max twice": (around(nn.ReLU(), nn.MaxPool2d((1, 2)), nn.MaxPool2d((2, 1))), ("relu", 4, 1)),
    "max over all": (around(nn.ReLU(), nn.AdaptiveMaxPool2d(1), sides=0), ("relu", 256, 1)),
    "mean 2×2": (around(nn.Tanh(), nn.AvgPool2d(2)), ("tanh", 1, 4)),
    "mean to a size": (around(nn.ReLU(), nn.AdaptiveAvgPool2d(8)), ("relu", 1, 4)),
    "mean of maxima": (around(nn.ReLU(), nn.MaxPool2d(2), nn.AvgPool2d(2), sides=4), ("relu", 4, 4)),
    "maximum of means": (around(nn.ReLU(), nn.AvgPool2d(2), nn.MaxPool2d(2), sides=4), ("relu", 1, 4)),
    "mean over all": (around(nn.ReLU(), nn.AdaptiveAvgPool2d(1), sides=0), ("relu", 1, 1)),
    "mean over all by a window": (around(nn.ReLU(), nn.AvgPool2d(16), sides=0), ("relu", 1, 1)),
    "mean over all, written out": (around(nn.ReLU(), Mean(), sides=0), ("relu", 1, 1)),
    "mean before the nonlinearity": (around(nn.AvgPool2d(2), nn.ReLU()), ("relu", 1, 1)),
    "no pool": (around(nn.ReLU(), sides=16), ("relu", 1, 1)),
    "a stride": (around(nn.ReLU(), nn.Upsample(scale_factor=0.5)), ("relu", 1, 1)),
    "behind a norm": (around(nn.ReLU(), nn.MaxPool2d(2), nn.BatchNorm2d(8)), ("", 1, 1)),
}


@pytest.mark.parametrize(("model", "found"), POOLS.values(), ids=POOLS)
def test_what_is_read_off_the_code(model, found):
    assert windows(model) == found


def test_pools_of_one_and_three_dimensions():
    one = nn.Sequential(nn.Conv1d(3, 4, 3), nn.ReLU(), nn.MaxPool1d(3), MAPS, nn.Linear(16, 2))
    assert windows(one, torch.zeros(2, 3, 14)) == ("relu", 3, 1)
    three = nn.Sequential(nn.Conv3d(1, 4, 1), nn.ReLU(), nn.AvgPool3d(2), MAPS, nn.Linear(32, 2))
    assert windows(three, torch.zeros(2, 1, 4, 4, 4)) == ("relu", 1, 8)
    largest = nn.Sequential(nn.Conv3d(1, 4, 1), nn.ReLU(), nn.MaxPool3d(2), MAPS, nn.Linear(32, 2))
    assert windows(largest, torch.zeros(2, 1, 4, 4, 4)) == ("relu", 8, 1)


def alike(samples, channels=64, size=8, correlation=0.75, seed=0):
    """Images of unit variance of which any two pixels have this correlation."""
    generator = torch.Generator().manual_seed(seed)
    common = torch.randn(samples, channels, 1, 1, generator=generator)
    own = torch.randn(samples, channels, size, size, generator=generator)
    return sqrt(correlation) * common + sqrt(1 - correlation) * own


@pytest.mark.parametrize("activation", [nn.ReLU, nn.GELU, nn.Tanh])
@pytest.mark.parametrize("pool", [nn.MaxPool2d(2), nn.MaxPool2d(3, 2), nn.AvgPool2d(2)])
def test_signals_behind_pools_have_the_variance_that_is_planned(activation, pool):
    """Of images as alike as assumed, the weight behind the pool makes pre-activations of variance K."""
    seen = []
    for seed in range(24):
        model = nn.Sequential(
            nn.Conv2d(64, 64, 1, bias=False), activation(), pool, nn.Conv2d(64, 64, 1, bias=False), activation()
        )
        initialize(model, "auto", torch.zeros(2, 64, 8, 8), seed=seed)
        with torch.no_grad():
            seen.append(model[:4](alike(48, seed=seed)).square().mean().item())
    values = torch.tensor(seen)
    wanted = operating_point(activation.__name__.lower()).variance
    assert abs(values.mean().item() - wanted) < 5 * values.std().item() / sqrt(len(seen))
    assert values.std().item() / sqrt(len(seen)) < 0.05 * wanted


def test_the_reason_says_so():
    steps = plan(around(nn.ReLU(), nn.MaxPool2d(2)), "auto", IMAGE)
    factor = pooled_second_moment("relu", 2.0, largest_of=4)
    assert steps["4.weight"].initializer.std == pytest.approx(1 / sqrt(512 * factor))
    assert steps["4.weight"].why == (
        "reads relu through the largest of 4 (second moment ×1.95), no nonlinearity follows: gain 0.7168 over "
        "fan-in 512; logits of variance 1"
    )
    two = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(8, 8, 3), nn.ReLU())
    assert plan(two, "auto", IMAGE)["3.weight"].why == (
        "reads relu through the mean of 4 (second moment ×0.841), relu follows: gain 1.542 over fan-in 72; "
        "passes on a second moment of 1"
    )


@pytest.mark.parametrize("name", ["gelu", "tanh"])
def test_critical_makes_up_for_pools_too(name):
    activation = {"gelu": nn.GELU, "tanh": nn.Tanh}[name]
    block = [part for _ in range(2) for part in (nn.Conv2d(8, 8, 3, padding=1), activation())]
    model = nn.Sequential(*block, nn.MaxPool2d(2), nn.Conv2d(8, 8, 3), activation(), nn.Conv2d(8, 8, 3))
    law = plan(model, "critical", torch.zeros(2, 8, 16, 16))["5.weight"].initializer
    point = critical_point(name, layers=2)
    passed = response(name, point.variance).second_moment
    factor = pooled_second_moment(name, point.variance, largest_of=4) / passed
    assert factor > 1.1
    assert law.gain**2 == pytest.approx(point.weight_variance / factor)
