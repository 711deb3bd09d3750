"""The maps of variance and correlation against closed forms, published numbers and simulated deep networks."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from math import acos, asin, inf, log, pi, sin, sqrt

import numpy as np
import pytest
from scipy.optimize import brentq

import fanin
from fanin.gains.critical_line import critical_line, critical_weights
from fanin.gains.fixed_points import VarianceMap
from fanin.gains.medium import Medium

CORRELATIONS = (0.0, 0.2, 0.7, 0.95, 0.999, 1.0)


def relu_dual(q: float, c: float) -> float:
    """The arc-cosine kernel of Cho & Saul 2009."""
    angle = acos(c)
    return q / (2 * pi) * (sin(angle) + (pi - angle) * c)


@pytest.mark.parametrize("q", [0.3, 1.0, 7.0])
@pytest.mark.parametrize("c", CORRELATIONS)
def test_dual_of_relu_is_the_arc_cosine_kernel(q: float, c: float) -> None:
    dual = Medium.of("relu").dual(q)
    assert dual(c) == pytest.approx(relu_dual(q, c), abs=3e-6 * q)
    assert dual.slope(c) == pytest.approx(q / (2 * pi) * (pi - acos(c)), abs=1e-3 * q)


@pytest.mark.parametrize("q", [0.3, 1.0, 7.0])
@pytest.mark.parametrize("c", CORRELATIONS)
def test_dual_of_erf_is_williams_kernel(q: float, c: float) -> None:
    dual = Medium.of("erf").dual(q)
    inner = 2 * q / (1 + 2 * q)
    assert dual(c) == pytest.approx(2 / pi * asin(inner * c), abs=1e-10)
    assert dual.slope(c) == pytest.approx(2 / pi * inner / sqrt(1 - (inner * c) ** 2), rel=1e-8)


@pytest.mark.parametrize("name", ["hardtanh", "hardswish", "relu6", "gelu", "tanh", "sin", "softplus"])
def test_dual_is_a_covariance(name: str) -> None:
    # Against the plain sum over a grid of both.
    x = np.arange(-8, 8, 0.02)
    w = np.exp(-x * x / 2) / np.exp(-x * x / 2).sum()
    medium, q, c = Medium.of(name), 1.7, 0.6
    v = medium.function((sqrt(q) * (c * x[:, None] + sqrt(1 - c * c) * x)).ravel()).reshape(len(x), len(x))
    expected = float((w * medium.function(sqrt(q) * x)) @ v @ w)
    assert medium.dual(q)(c) == pytest.approx(expected, rel=1e-4)


def erf_map(weights: float, biases: float) -> Callable[[float], float]:
    return lambda q: weights * 2 / pi * asin(2 * q / (1 + 2 * q)) + biases


@pytest.mark.parametrize(("weight_std", "bias_std"), [(1.0, 0.3), (2.0, 0.2), (3.0, 0.05)])
def test_erf_from_its_closed_forms(weight_std: float, bias_std: float) -> None:
    view = fanin.activation("erf", weight_std=weight_std, bias_std=bias_std)
    weights, biases = weight_std**2, bias_std**2
    q = brentq(lambda q: erf_map(weights, biases)(q) - q, 1e-6, 100, xtol=1e-13)
    inner = 2 * q / (1 + 2 * q)
    chi = weights * 4 / (pi * sqrt(1 + 4 * q))
    assert view.variance == pytest.approx(q, rel=1e-8)
    assert view.chi == pytest.approx(chi, rel=1e-8)
    assert view.phase == ("ordered" if chi < 1 else "chaotic")

    def passed(c: float) -> float:
        return (weights * 2 / pi * asin(inner * c) + biases) / q

    c = 1.0 if chi < 1 else brentq(lambda c: passed(c) - c, 0, 1 - 1e-7, xtol=1e-13)
    slope = weights * 2 / pi * inner / sqrt(1 - (inner * c) ** 2) / q
    assert view.correlation == pytest.approx(c, abs=1e-7)
    assert view.correlation_length == pytest.approx(-1 / log(slope), rel=1e-6)
    assert view.survives == pytest.approx(6 * view.correlation_length)
    variance_slope = weights * 2 / pi * 2 / ((1 + 2 * q) * sqrt(1 + 4 * q))
    assert view.variance_length == pytest.approx(-1 / log(variance_slope), rel=1e-6)


def test_published_numbers() -> None:
    # Schoenholz et al. 2017 train tanh networks at σ_b² = 0.05, where the edge of chaos is at σ_w² = 1.76.
    assert fanin.activation("tanh", bias_std=sqrt(0.05)).weight_std ** 2 == pytest.approx(1.76, abs=0.005)
    # Roberts, Yaida & Hanin 2022, chapter 5.
    gelu, silu = fanin.activation("gelu"), fanin.activation("silu")
    assert (gelu.weight_std**2, gelu.bias_std**2) == pytest.approx((1.98305, 0.17292), abs=2e-5)
    assert gelu.variance == pytest.approx((3 + sqrt(17)) / 2, rel=1e-3)
    assert (silu.weight_std**2, silu.bias_std**2) == pytest.approx((1.98800, 0.55514), abs=2e-5)
    # Klambauer et al. 2017: SELU keeps mean 0 and variance 1 with LeCun's weights, and 1 attracts.
    selu = fanin.activation("selu", weight_std=1.0)
    assert selu.variance == pytest.approx(1.0, rel=1e-8)
    assert [point.kind for point in selu.fixed_points] == ["unstable", "stable"]


def test_tanh_is_critical_at_one_and_zero() -> None:
    view = fanin.activation("tanh")
    assert (view.weight_std, view.bias_std, view.phase, view.variance) == (1.0, 0.0, "critical", 0.0)
    (branch,) = view.critical_line
    assert branch[0] == pytest.approx((1.0, 0.0), abs=1e-6)
    assert all(a[0] < b[0] and a[1] <= b[1] for a, b in pairwise(branch))


def test_relu_is_critical_at_one_point_and_keeps_every_scale() -> None:
    view = fanin.activation("relu")
    assert view.critical_line == (((pytest.approx(sqrt(2)), 0.0),),)
    assert [point.kind for point in view.fixed_points] == ["any scale"]
    assert (view.phase, view.correlation, view.correlation_length, view.survives) == ("critical", 1.0, inf, inf)
    assert critical_weights(Medium.of("relu").response, 0.01) is None


def test_every_point_of_the_edge_has_chi_one() -> None:
    for name in ("tanh", "erf", "selu", "gelu"):
        medium = Medium.of(name)
        for branch in critical_line(medium.response):
            for weight_std, bias_std in branch[::20]:
                if 0.05 < bias_std < 1:
                    view = fanin.activation(name, weight_std=weight_std, bias_std=bias_std)
                    near = min(
                        (abs(weight_std**2 * medium.response(p.variance).slope_second_moment - 1), p.variance)
                        for p in view.fixed_points
                        if 0 < p.variance < inf
                    )
                    assert near[0] < 2e-3, (name, weight_std, bias_std)


@pytest.mark.parametrize("weight_std", [1.0, 1.3, 1.6])
def test_relu_without_biases_grows_or_dies_by_half_the_weights(weight_std: float) -> None:
    view = fanin.activation("relu", weight_std=weight_std)
    factor = weight_std**2 / 2
    assert view.chi == pytest.approx(factor)
    assert view.variance == (0.0 if factor < 1 else inf)
    assert view.survives == pytest.approx(6 / abs(log(factor)))


def test_relu_with_biases_at_criticality_grows_by_the_bias() -> None:
    view = fanin.activation("relu", weight_std=sqrt(2), bias_std=0.3)
    assert (view.variance, view.phase, view.survives) == (inf, "critical", inf)
    assert [layer.variance for layer in view.through(4)] == pytest.approx([2 + 0.09 * k for k in (1, 2, 3, 4)])


def test_bistable_maps_show_all_fixed_points() -> None:
    view = fanin.activation("tanhshrink", weight_std=sqrt(2), bias_std=sqrt(0.1))
    assert [point.kind for point in view.fixed_points] == ["stable", "unstable", "stable"]
    at = VarianceMap(view.medium.response, 2.0, 0.1)
    for point in view.fixed_points[:2]:
        assert at(point.variance) == pytest.approx(point.variance, rel=1e-9)


def simulated(medium: Medium, weight_std: float, bias_std: float, depth: int, width: int, draws: int) -> np.ndarray:
    """[draws, depth, 3]: q, c and the gradient's factor in finite networks."""
    generator = np.random.default_rng(7)
    rows = np.empty((draws, depth, 3))
    for draw in range(draws):
        x = generator.standard_normal((2, width))
        x[1] = 0.5 * x[0] + sqrt(0.75) * x[1]
        layers, slopes = [], []
        for _ in range(depth):
            weights = generator.standard_normal((width, width)) * weight_std / sqrt(width)
            z = x @ weights.T + bias_std * generator.standard_normal(width)
            x = medium.function(z.ravel()).reshape(z.shape)
            e = 1e-6
            slopes.append((medium.function(z[0] + e) - medium.function(z[0] - e)) / (2 * e))
            layers.append((weights, z))
        gradient = generator.standard_normal(width)
        last = float((gradient**2).sum())
        for place in reversed(range(depth)):
            weights, z = layers[place]
            q = (z**2).mean(axis=1)
            rows[draw, place] = (q.mean(), (z[0] * z[1]).mean() / sqrt(q[0] * q[1]), (gradient**2).sum() / last)
            if place:
                gradient = (weights.T @ gradient) * slopes[place - 1]
    return rows


@pytest.mark.parametrize(
    ("name", "weight_std", "bias_std"), [("tanh", 1.2, 0.3), ("tanh", 1.6, 0.2), ("gelu", 1.4, 0.4), ("relu", 1.5, 0.2)]
)
def test_wide_deep_random_networks_follow_the_theory(name: str, weight_std: float, bias_std: float) -> None:
    depth, width, draws = 8, 250, 60
    view = fanin.activation(name, weight_std=weight_std, bias_std=bias_std)
    told = np.array([(e.variance, e.correlation, e.gradient) for e in view.through(depth)])
    seen = simulated(view.medium, weight_std, bias_std, depth, width, draws)
    error = seen.std(axis=0, ddof=1) / sqrt(draws)
    # Finite width shifts the means by about depth/width.
    slack = 5 * error + 1.5 * np.arange(1, depth + 1)[:, None] / width * np.abs(told)
    slack[:, 2] = 5 * error[:, 2] + 1.5 * np.arange(depth, 0, -1) / width * told[:, 2]
    assert (np.abs(seen.mean(axis=0) - told) < slack).all(), (seen.mean(axis=0), told, slack)
    assert (slack < 0.4 * told).all()
