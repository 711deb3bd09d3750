"""Gains of the named activations: METHODS' reference values, closed forms, and what torch has."""

from __future__ import annotations

import time
from math import exp, sqrt

import numpy as np
import pytest
from scipy import integrate, special, stats

from fanin import gains
from fanin.errors import ArgumentError, UnknownNameError
from fanin.gains import gain

# name, E[f], E[f²], forward, backward
REFERENCE = [
    ("relu", 0.398942, 0.500000, 1.414214, 1.414214),
    ("leaky_relu", 0.394953, 0.500050, 1.414143, 1.414143),
    ("gelu", 0.282095, 0.425221, 1.533530, 1.481114),
    ("gelu_tanh", 0.282039, 0.425194, 1.533581, 1.481168),
    ("silu", 0.206621, 0.355776, 1.676532, 1.623320),
    ("tanh", 0.0, 0.394294, 1.592537, 1.467414),
    ("sigmoid", 0.5, 0.293379, 1.846229, 4.722646),
    ("selu", 0.0, 1.0, 1.0, 0.966026),
    ("elu", 0.160521, 0.644945, 1.245198, 1.223429),
    ("softplus", 0.806059, 0.921246, 1.041867, 1.846229),
    ("mish", 0.240404, 0.452342, 1.486848, 1.444755),
    ("hardswish", 0.166217, 0.331567, 1.736657, 1.670076),
    ("softsign", 0.0, 0.183014, 2.337533, 2.095781),
    ("sin", 0.0, 0.432332, 1.520867, 1.327251),
]


@pytest.mark.parametrize(("name", "mean", "square", "forward", "backward"), REFERENCE)
def test_reference_values(name, mean, square, forward, backward):
    seen = gain(name)
    assert (seen.mean, seen.second_moment) == pytest.approx((mean, square), abs=1e-6)
    assert (seen.forward, seen.backward) == pytest.approx((forward, backward), abs=1e-6)
    assert seen.forward == pytest.approx(1 / sqrt(seen.second_moment), rel=1e-15)
    assert seen.backward == pytest.approx(1 / sqrt(seen.slope_second_moment), rel=1e-15)


FORMULAS = {
    "abs": np.abs,
    "celu": lambda x: np.maximum(x, 0) + np.expm1(np.minimum(x, 0)),
    "cos": np.cos,
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "erf": special.erf,
    "gelu": lambda x: x * stats.norm.cdf(x),
    "hardsigmoid": lambda x: np.clip(x / 6 + 0.5, 0, 1),
    "hardtanh": lambda x: np.clip(x, -1, 1),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "linear": lambda x: x,
    "logsigmoid": lambda x: np.log(special.expit(x)),
    "prelu": lambda x: np.where(x > 0, x, 0.25 * x),
    "quick_gelu": lambda x: x * special.expit(1.702 * x),
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "relu_squared": lambda x: np.maximum(x, 0) ** 2,
    "selu": lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(np.minimum(x, 0))),
    "sin": np.sin,
    "tanhshrink": lambda x: x - np.tanh(x),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_every_name_agrees_with_independent_integration(name):
    x = np.linspace(-10, 10, 2_000_001)
    y, density = FORMULAS[name](x), stats.norm.pdf(x)
    slope = np.gradient(y, x)
    seen = gain(name)
    for value, f in [(seen.mean, y), (seen.second_moment, y**2), (seen.slope_second_moment, slope**2)]:
        assert value == pytest.approx(integrate.trapezoid(f * density, x), abs=1e-5)


def test_every_name_is_tested():
    tested = {name for name, *_ in REFERENCE} | set(FORMULAS)
    assert set(gains.activation_names()) - tested == {
        "gelu_fast",
        "gelu_new",
        "gelu_pytorch_tanh",
        "identity",
        "relu2",
        "swish",
    }
    assert gain("swish").forward == gain("silu").forward
    assert gain("identity").forward == gain("identity").backward == 1


@pytest.mark.parametrize(
    ("name", "parameter", "square", "slope"),
    [
        ("leaky_relu", 0.2, 0.52, 0.52),
        ("prelu", -1.0, 1.0, 1.0),
        ("sin", 30.0, 0.5, 450.0),
        ("cos", 2.0, (1 + exp(-8)) / 2, 2 * (1 - exp(-8))),
        ("elu", 0.0, 0.5, 0.5),
        ("celu", 1.0, 0.644945, 0.668102),
        ("softplus", 1.0, 0.921246, 0.293379),
    ],
)
def test_the_parameter_is_used(name, parameter, square, slope):
    seen = gain(name, parameter)
    assert (seen.second_moment, seen.slope_second_moment) == pytest.approx((square, slope), abs=1e-6)
    assert seen.parameter == parameter
    if name in ("elu", "celu", "softplus"):
        assert gain(name, 2.0).forward != pytest.approx(gain(name, 1.0).forward, rel=1e-2)


@pytest.mark.parametrize("name", gains.activation_names())
def test_a_gain_takes_milliseconds(name):
    best = min(_seconds(name) for _ in range(5))
    assert best < 0.02


def _seconds(name):
    start = time.process_time()
    gain(name)
    return time.process_time() - start


def test_exact_says_which_are_closed_forms():
    assert gain("relu").exact
    assert gain("gelu").exact
    assert not gain("tanh").exact


def test_what_cannot_be_is_refused():
    with pytest.raises(UnknownNameError, match="unknown activation 'rellu'; did you mean 'relu'"):
        gain("rellu")
    with pytest.raises(ArgumentError, match=r"relu takes no parameter, got 0.1; those that do: celu, cos, elu"):
        gain("relu", 0.1)
    with pytest.raises(ArgumentError, match="the parameter of leaky_relu must be a finite number, got nan"):
        gain("leaky_relu", float("nan"))
    with pytest.raises(
        ArgumentError, match=r"sin has no gain: E\[f²\] is 0 for x ~ N\(0, 1\), so it passes nothing on"
    ):
        gain("sin", 0.0)
