"""Schemes through the real layers that use the weights: the promised variance comes out, and goes back."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from fanin import schemes
from fanin.axes import Axes
from fanin.random import Region, Stream

MANY = 4096


class Experts(nn.Module):
    """Stacked experts [E, out, in], each with its own input."""

    def __init__(self, outputs, inputs):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(4, outputs, inputs, dtype=torch.float64))

    def forward(self, x):
        return torch.einsum("eoi,ei->eo", self.weight, x)


def conv1d(shape):
    return Axes(shape, outputs=(1,), inputs=(0,))


def experts(shape):
    return Axes(shape, outputs=(1,), inputs=(2,), batch=(0,))


def layers(n_in, n_out):
    """(layer, axes of its weight, shape of an input, cut of an inner position of input or output)."""
    inner = (..., 5, 5)
    double = {"bias": False, "dtype": torch.float64}
    conv = nn.Conv2d(n_in, n_out, 3, padding=1, groups=4, **double)
    even = nn.Conv2d(n_in, n_out, (2, 5), **double)
    turned = nn.ConvTranspose2d(n_in, n_out, 4, stride=2, padding=1, groups=2, **double)
    strided = nn.ConvTranspose2d(n_in, n_out, 4, stride=4, **double)
    yield nn.Linear(n_in, n_out, **double), Axes.linear, (1, n_in), ...
    yield Conv1D(n_out, n_in).double(), conv1d, (1, n_in), ...
    yield Experts(n_out // 4, n_in), experts, (4, n_in), ...
    yield conv, lambda shape: Axes.conv(shape, groups=4), (1, n_in, 11, 11), inner
    yield even, Axes.conv, (1, n_in, 12, 14), inner
    yield turned, lambda shape: Axes.conv_transpose(shape, groups=2, stride=4), (1, n_in, 11, 11), inner
    yield strided, lambda shape: Axes.conv_transpose(shape, stride=16), (1, n_in, 11, 11), inner


NAMES = ["linear", "Conv1D", "experts", "conv groups", "conv even", "transposed s2 groups", "transposed s4"]
every_layer = pytest.mark.parametrize("which", range(len(NAMES)), ids=NAMES)


def draw(layer, axes_of, scheme):
    shape = tuple(layer.weight.shape)
    axes, values = axes_of(shape), np.empty(shape)
    scheme(axes).fill(values, Stream.named(1, "weight"), Region.whole(shape))
    layer.weight.data = torch.from_numpy(values)
    return axes


def signs(shape):
    return torch.randint(0, 2, shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 2 - 1


def assert_mean_square(y, expected):
    square = y.detach().square().flatten().numpy()
    assert square.size >= MANY
    assert abs(square.mean() - expected) <= 5 * square.std() / sqrt(square.size)


FORWARD = {
    "he_normal": (schemes.he_normal, lambda i, o: 2.0),
    "he_uniform": (lambda axes: schemes.he_uniform(axes, 1.3), lambda i, o: 1.69),
    "lecun_normal": (schemes.lecun_normal, lambda i, o: 1.0),
    "lecun_uniform": (schemes.lecun_uniform, lambda i, o: 1.0),
    "xavier_normal": (schemes.xavier_normal, lambda i, o: 2 * i / (i + o)),
    "xavier_uniform": (lambda axes: schemes.xavier_uniform(axes, 3.0), lambda i, o: 18 * i / (i + o)),
    "truncated geo": (lambda axes: schemes.variance_scaling(axes, 1.0, "fan_geo_avg"), lambda i, o: sqrt(i / o)),
    "standard": (schemes.standard, lambda i, o: 1 / 3),
}


@every_layer
@pytest.mark.parametrize("name", FORWARD)
def test_forward_variance(which, name):
    layer, axes_of, shape, inner = list(layers(16, MANY))[which]
    scheme, promise = FORWARD[name]
    axes = draw(layer, axes_of, scheme)
    with torch.no_grad():
        y = layer(signs(shape))
    assert_mean_square(y[inner], promise(*axes.fans))


@every_layer
@pytest.mark.parametrize("scheme", [schemes.he_normal, schemes.he_uniform])
def test_backward_variance_by_fan_out(which, scheme):
    layer, axes_of, shape, inner = list(layers(MANY, 16))[which]
    draw(layer, axes_of, lambda axes: scheme(axes, 1.0, "fan_out"))
    x = torch.zeros(shape, dtype=torch.float64, requires_grad=True)
    y = layer(x)
    (back,) = torch.autograd.grad(y, x, signs(y.shape))
    # An input of a strided transposed convolution reaches all its outputs: fan_out knows no stride.
    assert_mean_square(back[inner], 1.0)


@pytest.mark.parametrize("which", [0, 1, 3, 4], ids=[NAMES[i] for i in (0, 1, 3, 4)])
def test_orthogonal_forward_variance(which):
    layer, axes_of, shape, inner = list(layers(16, MANY))[which]
    axes = draw(layer, axes_of, lambda axes: schemes.orthogonal(axes, 1.5))
    with torch.no_grad():
        y = layer(signs(shape))
    rows = MANY / axes.groups
    # More rows than columns: an isometry of each patch.
    assert y[inner].square().sum().item() == pytest.approx(1.5**2 * axes.fan_in * axes.groups, rel=1e-9)
    assert_mean_square(y[inner], 1.5**2 * axes.fan_in / rows)


@pytest.mark.parametrize("which", [0, 1, 2, 4], ids=[NAMES[i] for i in (0, 1, 2, 4)])
@pytest.mark.parametrize("scheme", [schemes.row_normalized, schemes.sparse])
def test_rows_of_unit_length_and_sparse_rows_keep_the_variance(which, scheme):
    layer, axes_of, shape, inner = list(layers(40, MANY))[which]
    draw(layer, axes_of, lambda axes: scheme(axes, 0.7))
    with torch.no_grad():
        y = layer(signs(shape))
    assert_mean_square(y[inner], 0.49)


def test_an_embedding_is_a_lookup_whose_output_has_the_std_itself():
    table = nn.Embedding(4000, 64, dtype=torch.float64)
    values = np.empty((4000, 64))
    schemes.Normal(std=0.02).fill(values, Stream.named(0, "embedding"), Region.whole((4000, 64)))
    table.weight.data = torch.from_numpy(values)
    assert_mean_square(table(torch.arange(0, 4000, 3)), 0.02**2)


def test_he_keeps_the_signal_of_a_deep_relu_network_and_gain_one_halves_it_per_layer():
    def depth_gain(gain):
        x = torch.randn(64, 512, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        before = x.square().mean()
        for depth in range(24):
            shape = (512, 256) if depth % 2 else (256, 512)
            values = np.empty(shape)
            law = schemes.he_normal(Axes.linear(shape), gain)
            law.fill(values, Stream.named(0, f"{depth}"), Region.whole(shape))
            x = torch.relu(x @ torch.from_numpy(values).T)
        return (x.square().mean() / before).item()

    assert 0.5 < depth_gain(sqrt(2)) < 2
    assert 0.5 < depth_gain(1.0) * 2**24 < 2
