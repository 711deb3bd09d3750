"""Gains of any callable: arrays, tensors, floats; kinks, jumps and functions that have no gain."""

from __future__ import annotations

import math
import subprocess
import sys
from math import sqrt

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn
from torch.nn import functional as F

from fanin.errors import ArgumentError
from fanin.gains import gain

TORCH = {
    "relu": [F.relu, nn.ReLU(), torch.relu],
    "gelu": [F.gelu, nn.GELU()],
    "gelu_tanh": [nn.GELU(approximate="tanh")],
    "silu": [F.silu, nn.SiLU()],
    "tanh": [torch.tanh, nn.Tanh(), np.tanh, math.tanh],
    "sigmoid": [torch.sigmoid, lambda x: 1 / (1 + np.exp(-x))],
    "selu": [F.selu],
    "elu": [nn.ELU()],
    "softplus": [F.softplus],
    "mish": [F.mish],
    "hardswish": [F.hardswish],
    "softsign": [F.softsign],
    "sin": [torch.sin, np.sin, math.sin],
    "erf": [torch.erf, math.erf],
    "hardtanh": [F.hardtanh],
    "hardsigmoid": [F.hardsigmoid],
    "logsigmoid": [F.logsigmoid],
    "relu6": [F.relu6],
    "celu": [nn.CELU()],
    "prelu": [nn.PReLU()],
    "leaky_relu": [nn.LeakyReLU(), lambda x: x if x > 0 else 0.01 * x],
    "tanhshrink": [F.tanhshrink],
    "relu_squared": [lambda x: x.relu() ** 2],
}


@pytest.mark.parametrize(("name", "function"), [(name, f) for name, fs in TORCH.items() for f in fs])
def test_a_callable_has_the_gain_of_its_name(name, function):
    named, seen = gain(name), gain(function)
    # torch's sums, rounded to ten digits, and torch's softplus, linear beyond 20
    assert (seen.forward, seen.backward) == pytest.approx((named.forward, named.backward), rel=1e-8)
    assert (seen.mean, seen.second_moment) == pytest.approx((named.mean, named.second_moment), abs=1e-8)
    assert not seen.exact


@pytest.mark.parametrize("kink", [0.1234567, -1.7, 0.5, 2.999, 0.4999, 0.0001, 1e-6, -0.5001, 0.2499])
def test_kinks_anywhere(kink):
    # E[max(x, k)²] = k²Φ(k) + 1 − Φ(k) + kφ(k), E[f′²] = 1 − Φ(k)
    below, density = stats.norm.cdf(kink), stats.norm.pdf(kink)
    seen = gain(lambda x: np.maximum(x, kink))
    assert seen.second_moment == pytest.approx(kink**2 * below + 1 - below + kink * density, abs=1e-9)
    assert seen.slope_second_moment == pytest.approx(1 - below, abs=1e-9)


@pytest.mark.parametrize("edge", [0.5, 0.3333])
def test_jumps_add_nothing_to_the_slope(edge):
    outside = 2 * stats.norm.sf(edge)
    seen = gain(lambda x: F.hardshrink(x, edge))
    assert seen.slope_second_moment == pytest.approx(outside, abs=1e-8)
    assert seen.second_moment == pytest.approx(outside + 2 * edge * stats.norm.pdf(edge), abs=1e-8)


def test_fast_oscillation_and_small_scale():
    assert gain(lambda x: np.sin(30 * x)).slope_second_moment == pytest.approx(450, rel=1e-8)
    assert gain(lambda x: 1e-6 * np.maximum(x - 0.1, 0)).forward == pytest.approx(
        1e6 * gain(lambda x: np.maximum(x - 0.1, 0)).forward, rel=1e-7
    )


def test_the_parameter_is_the_second_argument():
    assert gain(F.leaky_relu, 0.2).forward == pytest.approx(sqrt(2 / 1.04), rel=1e-9)
    assert gain(lambda x, a: a * x, 2.0).backward == pytest.approx(0.5)


def test_the_name_is_that_of_the_callable():
    assert gain(F.relu).activation == "relu"
    assert gain(nn.PReLU()).activation == "PReLU"


def test_a_module_is_left_as_it_was():
    module = nn.PReLU()
    module.weight.grad = torch.ones(1)
    state = torch.get_rng_state()
    gain(nn.Sequential(module, nn.Dropout(0.5)).train())
    assert module.training
    assert module.weight.dtype == torch.float32
    assert torch.equal(torch.get_rng_state(), state)


def test_a_module_that_counts_its_calls_is_not_called_itself():
    class Counting(nn.Module):
        calls = 0

        def forward(self, x):
            self.calls += 1
            return x * 2

    module = Counting()
    assert gain(module).forward == pytest.approx(0.5)
    assert module.calls == 0


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (lambda x: 0 * x, "<lambda> has no gain: E[f²] is 0 for x ~ N(0, 1), so it passes nothing on"),
        (lambda x: 0 * x + 3, "<lambda> has no gain: E[f′²] is 0"),
        (np.sign, "sign has no gain: E[f′²] is 0"),
        (np.sqrt, "sqrt is not finite at x = -12, so it has no gain"),
        (lambda x: 1 / (x - x), "<lambda> is not finite at x ="),
        (lambda x: np.exp(x * x / 3), "grows too fast: E[f(x)²] for x ~ N(0, 1) is not finite"),
        (lambda x: F.softmax(x, -1), "<lambda> is not elementwise and deterministic, so it has no gain"),
        (lambda x: np.random.default_rng().normal(size=x.shape), "is not elementwise and deterministic"),
        (np.sum, "sum is not elementwise and deterministic"),
        (lambda x: x.astype(np.float32) ** 2, "does not converge: too rough or noisy (a function in float32 is)"),
        (lambda x: x.foo, "<lambda> cannot be called with an array, a tensor or a float: AttributeError"),
    ],
)
def test_functions_without_a_gain_are_refused(function, text):
    with pytest.raises(ArgumentError) as caught:
        gain(function)
    assert text in str(caught.value)


def test_gains_need_neither_torch_nor_scipy():
    program = (
        "import sys; from fanin.gains import gain; gain('tanh'); gain(lambda x: x * 2); print(sorted(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "'numpy'" in ran.stdout
    assert "'torch'" not in ran.stdout
    assert "'scipy'" not in ran.stdout
