"""The mean-field view as a table, as JSON and as a picture; activations of one's own; what cannot be meant."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError
from math import inf
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import fanin


@pytest.mark.parametrize("function", [nn.GELU(), F.gelu, torch.nn.functional.gelu])
def test_callables_are_what_their_names_are(function: object) -> None:
    own = fanin.activation(function, weight_std=1.3, bias_std=0.2)
    named = fanin.activation("gelu", weight_std=1.3, bias_std=0.2)
    assert own.chi == pytest.approx(named.chi, rel=1e-8)
    assert own.variance == pytest.approx(named.variance, rel=1e-8)
    assert np.array(own.correlation_map) == pytest.approx(np.array(named.correlation_map), rel=1e-8)


def test_a_parameter_reaches_name_and_callable() -> None:
    def leaky(x: np.ndarray, slope: float) -> np.ndarray:
        return np.where(x > 0, x, slope * x)

    for function in ("leaky_relu", leaky):
        assert fanin.activation(function, 0.5).weight_std ** 2 == pytest.approx(2 / 1.25)


def test_a_callable_without_a_name_in_the_catalogue_has_a_critical_point() -> None:
    view = fanin.activation(lambda x: np.sin(x) * np.exp(-x * x / 8))
    assert (view.phase, view.weight_std) == ("critical", pytest.approx(1.0, abs=1e-6))


def test_the_table_says_phase_and_depth() -> None:
    text = str(fanin.activation("tanh", weight_std=2.0, bias_std=0.1))
    assert text.splitlines()[0] == "tanh, σ_w = 2, σ_b = 0.1: chaotic"
    for label in ("χ₁", "q*", "ξ_q", "c*", "ξ_c", "depth", "critical σ_w"):
        assert any(line.startswith(label) for line in text.splitlines())


@pytest.mark.parametrize("weight_std", [1.0, None, 2.0])
def test_json_has_no_infinity(weight_std: float | None) -> None:
    view = fanin.activation("relu", weight_std=weight_std)
    data = json.loads(json.dumps(view.to_dict(), allow_nan=False))
    assert data["phase"] == view.phase
    assert data["survives"] == (None if view.survives == inf else view.survives)
    assert (data["variance"] is None) == (view.variance == inf)


def test_the_view_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        fanin.activation("relu").chi = 2.0  # pyright: ignore


def test_through_is_the_map_step_by_step() -> None:
    view = fanin.activation("relu", weight_std=1.2, bias_std=0.3)
    layers = view.through(5, 0.2)
    q = 1.2**2 + 0.09
    for layer in layers:
        assert layer.variance == pytest.approx(q, rel=1e-9)
        q = 0.72 * q + 0.09
    assert [layer.gradient for layer in layers] == pytest.approx([0.72**k for k in (4, 3, 2, 1, 0)])
    assert layers[0].correlation == pytest.approx((1.44 * 0.2 + 0.09) / (1.44 + 0.09))


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_plot_is_a_picture(tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("matplotlib")
    path = fanin.activation("gelu").plot(tmp_path / f"gelu.{suffix}")
    assert path.read_bytes()[:4] in (b"\x89PNG", b"<?xm")
    assert path.stat().st_size > 5000


def test_plot_refuses_other_files(tmp_path: Path) -> None:
    with pytest.raises(fanin.ArgumentError, match=r"not as \.txt"):
        fanin.activation("relu").plot(tmp_path / "relu.txt")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"function": "gelu", "weight_std": 0.0}, "weight_std must be a positive number, got 0.0"),
        ({"function": "gelu", "weight_std": float("nan")}, "weight_std must be a positive number, got nan"),
        ({"function": "gelu", "bias_std": -1.0}, "bias_std must be a number that is not negative, got -1.0"),
        ({"function": "relu", "bias_std": 0.3}, "relu has no critical weights with bias_std=0.3: give weight_std too"),
        ({"function": np.sign, "weight_std": 1.0}, "sign jumps: signals that are nearly alike"),
        ({"function": np.cumsum, "weight_std": 1.0}, "cumsum is not elementwise"),
        ({"function": "gelu", "parameter": 2.0}, "gelu takes no parameter"),
        ({"function": "leaky_relu", "parameter": "x"}, "the parameter of leaky_relu must be a finite number, got 'x'"),
        ({"function": lambda x: 0 * x}, "<lambda> is 0 everywhere: no signal passes it"),
    ],
)
def test_what_cannot_be_meant(arguments: dict[str, object], message: str) -> None:
    function = arguments.pop("function")
    parameter = arguments.pop("parameter", None)
    with pytest.raises(fanin.ArgumentError) as caught:
        fanin.activation(function, parameter, **arguments)
    assert message in str(caught.value)


def test_what_grows_faster_than_its_square_grows_without_bound() -> None:
    view = fanin.activation(np.exp, weight_std=1.0, bias_std=1.0)
    assert (view.variance, view.phase) == (inf, "chaotic")


def test_depth_and_correlation_are_checked() -> None:
    view = fanin.activation("relu")
    for depth, correlation in ((0, 0.5), (3, 1.5), (3, -0.1)):
        with pytest.raises(fanin.ArgumentError, match="depth must be at least 1 and correlation from 0 to 1"):
            view.through(depth, correlation)


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(fanin.UnknownNameError, match="did you mean 'gelu'"):
        fanin.activation("gellu")
