"""The variance that each scheme promises, measured at the output of the layer that uses the weight."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fanin.torch.init as init

BATCH = 512


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def five_errors(x, std, features):
    """Of the mean square of W x, over weights (each output is one sample of w·C·w) and over the batch."""
    second = x.T @ x / len(x)
    over_weights = std**2 * math.sqrt(2 * float(second.square().sum()) / features)
    over_batch = std**2 * float(x.square().sum(1).std()) / math.sqrt(len(x))
    return 5 * math.hypot(over_weights, over_batch)


@pytest.mark.parametrize("function", [init.kaiming_normal_, init.kaiming_uniform_])
@pytest.mark.parametrize(("activation", "name"), [(F.relu, "relu"), (F.gelu, "gelu"), (F.silu, "silu")])
def test_kaiming_keeps_the_mean_square_after_the_activation(function, activation, name):
    layer = nn.Linear(1024, 2048, bias=False)
    function(layer.weight, nonlinearity=name)
    x = activation(torch.randn(BATCH, 1024))
    tolerance = five_errors(x, init.calculate_gain(name) / 32, 2048)
    assert tolerance < 0.07
    assert float(layer(x).detach().square().mean()) == pytest.approx(1, abs=tolerance)


@pytest.mark.parametrize("mode", ["fan_in", "fan_out"])
def test_convolution_forward_and_backward(mode):
    layer = nn.Conv2d(16, 64, 3, bias=False)
    init.kaiming_normal_(layer.weight, mode=mode, nonlinearity="linear")
    x = torch.randn(64, 16, 10, 10, requires_grad=True)
    y = layer(x)
    y.backward(torch.randn_like(y))
    forward = 1.0 if mode == "fan_in" else 16 / 64
    assert float(y.detach().var()) == pytest.approx(forward, rel=0.1)
    inner = x.grad[:, :, 2:-2, 2:-2]  # away from the edge every input reaches all 64·9 outputs
    assert float(inner.var()) == pytest.approx(forward * 64 / 16, rel=0.1)


@pytest.mark.parametrize("function", [init.xavier_normal_, init.xavier_uniform_])
def test_xavier_gain_reaches_the_output(function):
    layer = nn.Linear(600, 1400, bias=False)
    function(layer.weight, gain=3.0)
    x = torch.randn(BATCH, 600)
    tolerance = five_errors(x, 3 * math.sqrt(2 / 2000), 1400)
    assert tolerance < 0.03 * 5.4
    assert float(layer(x).detach().square().mean()) == pytest.approx(9 * 2 * 600 / 2000, abs=tolerance)


def test_selu_network_with_lecun_stays_normalised():
    x = torch.randn(BATCH, 512)
    for _ in range(16):
        x = F.selu(F.linear(x, init.lecun_normal_(torch.empty(512, 512))))
    assert float(x.mean()) == pytest.approx(0, abs=0.1)
    assert float(x.var()) == pytest.approx(1, abs=0.25)


@pytest.mark.parametrize("depth", [50])
def test_orthogonal_network_is_an_isometry(depth):
    x = torch.randn(8, 64)
    y = x
    for _ in range(depth):
        y = F.linear(y, init.orthogonal_(torch.empty(64, 64)))
    torch.testing.assert_close(y.norm(dim=1), x.norm(dim=1), rtol=1e-4, atol=0)


@pytest.mark.parametrize("groups", [1, 4])
def test_delta_orthogonal_convolution_keeps_the_norm(groups):
    layer = nn.Conv2d(16, 32, 3, padding="same", groups=groups, bias=False)
    init.delta_orthogonal_(layer.weight, 0.5, groups)
    x = torch.randn(4, 16, 7, 7)
    torch.testing.assert_close(layer(x).norm(), 0.5 * x.norm())
