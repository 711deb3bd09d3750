"""Activations at any scale: second moments, χ, operating points, mirrored pairs, critical points."""

from __future__ import annotations

from math import exp, pi, sqrt

import numpy as np
import pytest
from scipy import integrate, special, stats

from fanin import gains
from fanin.errors import ArgumentError, UnknownNameError
from fanin.gains import critical_point, gain, gated_point, mirrored_response, operating_point, response

FORMULAS = {
    "abs": np.abs,
    "cos": np.cos,
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "erf": special.erf,
    "gelu": lambda x: x * stats.norm.cdf(x),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "linear": lambda x: x,
    "mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
    "prelu": lambda x: np.where(x > 0, x, 0.25 * x),
    "relu": lambda x: np.maximum(x, 0),
    "relu_squared": lambda x: np.maximum(x, 0) ** 2,
    "selu": lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(np.minimum(x, 0))),
    "silu": lambda x: x * special.expit(x),
    "sin": np.sin,
    "tanh": np.tanh,
}
NODES = np.linspace(-10, 10, 400_001)
DENSITY = stats.norm.pdf(NODES)


def expectation(values):
    return integrate.trapezoid(values * DENSITY, NODES)


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("variance", [0.3, 4.0])
def test_moments_at_other_scales_agree_with_independent_integration(name, variance):
    z = sqrt(variance) * NODES
    y = FORMULAS[name](z)
    seen = response(name, variance)
    assert seen.second_moment == pytest.approx(expectation(y**2), rel=1e-5)
    assert seen.slope_second_moment == pytest.approx(expectation(np.gradient(y, z) ** 2), rel=1e-4)
    step = 1e-3
    above, below = (response(name, variance * (1 + sign * step)).second_moment for sign in (1, -1))
    assert seen.growth == pytest.approx((np.log(above) - np.log(below)) / (2 * step), abs=2e-5)


@pytest.mark.parametrize("name", gains.activation_names())
def test_at_unit_variance_it_is_the_gain(name):
    seen, known = response(name), gain(name)
    assert seen.second_moment == pytest.approx(known.second_moment, rel=1e-9)
    assert seen.slope_second_moment == pytest.approx(known.slope_second_moment, rel=1e-9)


def test_closed_forms():
    # Cho & Saul 2009: the arcsine kernel of erf at variance K is 2/π·asin(2K/(1 + 2K))
    assert response("erf", 3.0).second_moment == pytest.approx(2 / pi * np.arcsin(6 / 7), rel=1e-9)
    assert response("sin", 2.0).second_moment == pytest.approx((1 - exp(-4)) / 2, rel=1e-9)
    assert response("relu", 7.0).second_moment == pytest.approx(3.5, rel=1e-9)
    assert response("leaky_relu", 2.0, 0.5).second_moment == pytest.approx(1.25, rel=1e-9)
    assert response("relu_squared", 2.0).growth == pytest.approx(2, abs=1e-8)


def test_the_parameter_reaches_the_formula():
    assert response("sin", 1.0, 2.0).second_moment == pytest.approx(response("sin", 4.0).second_moment, rel=1e-9)
    assert operating_point("leaky_relu", 1.0).variance == 1
    assert critical_point("leaky_relu", 0.5).weight_variance == pytest.approx(2 / 1.25)


@pytest.mark.parametrize("name", ["gelu", "silu", "mish", "elu", "relu", "softplus", "hardswish", "selu"])
def test_unbounded_functions_are_used_where_they_pass_on_one(name):
    point = operating_point(name)
    assert point.second_moment == pytest.approx(1, abs=1e-8)
    assert response(name, point.variance).second_moment == point.second_moment


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "softsign", "erf", "sin", "hardsigmoid", "cos"])
def test_bounded_functions_are_used_at_unit_variance(name):
    assert operating_point(name).variance == 1


@pytest.mark.parametrize("name", ["silu", "gelu", "sigmoid", "relu", "linear", "tanh", "identity"])
def test_gated_products_have_a_second_moment_of_one(name):
    point = gated_point(name)
    z = sqrt(point.variance) * NODES
    f = FORMULAS.get(name, {"sigmoid": special.expit, "identity": lambda x: x}.get(name))
    assert expectation(f(z) ** 2) * point.variance == pytest.approx(1, abs=1e-6)


def test_pairs_of_units_pass_their_difference():
    for name in ("relu", "gelu", "silu", "hardswish", "quick_gelu", "softplus"):
        pair = mirrored_response(name, 2.5)
        assert (pair.second_moment, pair.steady_chi, pair.growth) == pytest.approx((2.5, 1, 1), rel=1e-8)
    assert mirrored_response("leaky_relu", 1.0, 0.2).second_moment == pytest.approx(1.2**2)
    assert mirrored_response("tanh").second_moment == pytest.approx(4 * response("tanh").second_moment)
    assert mirrored_response("abs").second_moment == 0
    assert mirrored_response("mish").growth < 1 < response("mish").growth


# Roberts, Yaida & Hanin 2022, chapter 5
@pytest.mark.parametrize(("name", "biases", "weights"), [("gelu", 0.17292, 1.98305), ("silu", 0.55514, 1.98800)])
def test_half_stable_points_of_the_book(name, biases, weights):
    point = critical_point(name)
    assert (point.bias_variance, point.weight_variance) == pytest.approx((biases, weights), abs=1e-5)


@pytest.mark.parametrize("name", ["gelu", "silu", "mish", "hardswish", "quick_gelu", "gelu_tanh"])
def test_fixed_points_fulfil_all_three_conditions(name):
    point = critical_point(name)
    at = response(name, point.variance)
    assert point.kind == "fixed point"
    kept = point.bias_variance + point.weight_variance * at.second_moment
    assert kept == pytest.approx(point.variance, rel=1e-7)
    assert point.weight_variance * at.slope_second_moment == pytest.approx(1, rel=1e-7)
    assert at.growth * at.second_moment / at.variance * point.weight_variance == pytest.approx(1, abs=1e-6)
    assert point.bias_variance > 0


@pytest.mark.parametrize("name", ["tanh", "sin", "erf", "elu", "selu", "softsign"])
def test_vanishing_signals_lose_a_third_at_most(name):
    point = critical_point(name, layers=30)
    variance = point.variance
    slopes = 1.0
    for _ in range(30):
        at = response(name, variance)
        slopes *= point.weight_variance * at.slope_second_moment
        variance = point.bias_variance + point.weight_variance * at.second_moment
    assert point.kind == "vanishing"
    assert point.bias_variance == 0
    assert 0.7 <= variance / point.variance < 0.85
    assert 0.7 <= slopes < 1
    assert critical_point(name, layers=60).variance < point.variance


def test_tanh_has_unit_weights_and_its_edge_of_chaos():
    assert critical_point("tanh").weight_variance == pytest.approx(1, abs=1e-8)
    edge = critical_point("tanh", variance=1.0)
    at = response("tanh")
    assert edge.weight_variance == pytest.approx(1 / at.slope_second_moment)
    assert edge.bias_variance + edge.weight_variance * at.second_moment == pytest.approx(1)
    assert edge.growth < 1


def test_what_keeps_any_scale_and_what_none():
    for name in ("relu", "leaky_relu", "prelu", "linear", "abs", "relu6"):
        assert critical_point(name).kind == "any scale"
    for name in ("sigmoid", "softplus", "relu_squared", "tanhshrink", "cos", "hardsigmoid", "logsigmoid"):
        assert critical_point(name).kind == "none"


def test_what_cannot_be_is_refused():
    with pytest.raises(UnknownNameError, match="unknown activation 'rellu'"):
        response("rellu")
    with pytest.raises(ArgumentError, match=r"relu takes no parameter, got 0\.1"):
        operating_point("relu", 0.1)
    for function in (response, mirrored_response):
        with pytest.raises(ArgumentError, match="the variance of a pre-activation must be a positive number, got 0"):
            function("relu", 0.0)
    with pytest.raises(
        ArgumentError, match="sigmoid cannot keep a second moment of 1 with χ = 1: it would need biases"
    ):
        critical_point("sigmoid", variance=1.0)
    with pytest.raises(ArgumentError, match=r"variance must not be negative and layers at least 1, got -1\.0, 50"):
        critical_point("tanh", variance=-1.0)
