"""`critical` in numbers and words, and the chains that it and `auto` are told of."""

from __future__ import annotations

from math import sqrt

import pytest
import torch
from torch import nn

from fanin.errors import ArgumentError
from fanin.gains import critical_point, gain, response
from fanin.initializers import Constant, Mirrored, Normal
from fanin.recipes import named
from fanin.torch.planning import plan
from fanin.torch.trace import trace


class Squared(nn.Module):
    def forward(self, x):
        return torch.relu(x) ** 2


def planned(activation, recipe="critical", layers=12):
    parts = [part for _ in range(layers) for part in (nn.Linear(64, 64), activation())]
    return plan(nn.Sequential(*parts, nn.Linear(64, 10)), recipe, torch.zeros(2, 64))


def variance(step):
    """Second moment of the products of inputs of second moment 1."""
    rows, columns = step.shape
    return step.std**2 * columns if rows else 0.0


def test_gelu_in_numbers():
    steps, point = planned(nn.GELU), critical_point("gelu")
    assert variance(steps["2.weight"]) == pytest.approx(point.weight_variance)
    assert variance(steps["0.weight"]) + point.bias_variance == pytest.approx(point.variance)
    assert steps["2.bias"].initializer == Normal(std=sqrt(point.bias_variance))
    assert steps["24.bias"].initializer == Constant(0.0)
    delivered = response("gelu", point.variance).second_moment
    assert variance(steps["24.weight"]) == pytest.approx(1 / delivered)


def test_words():
    steps = planned(nn.SiLU)
    assert steps["0.weight"].why == (
        "orthogonal, σ_w² 13.77 over fan-in 64: silu is critical at a second moment of 14.32, to which the input is "
        "scaled; gradients ×1, deviations ×1"
    )
    assert steps["2.bias"].why == "σ_b² 0.5551 holds the signal at its second moment 14.32"
    assert steps["24.weight"].why.endswith("variance 1 goes out")
    assert "arXiv 2106.10165" in steps["2.weight"].source
    why = planned(nn.Tanh)["0.weight"].why
    assert "tanh is critical only where its signal vanishes" in why
    assert "13 weights leave 70 % of it and of the gradient" in why


def test_tanh_has_unit_weights_and_a_small_input():
    steps = planned(nn.Tanh)
    assert variance(steps["2.weight"]) == pytest.approx(1)
    assert variance(steps["0.weight"]) == pytest.approx(critical_point("tanh", layers=13).variance)
    assert steps["2.bias"].initializer == Constant(0.0)
    edge = planned(nn.Tanh, "critical,variance=1")
    assert variance(edge["2.weight"]) == pytest.approx(1 / gain("tanh").slope_second_moment)
    assert edge["2.bias"].std > 0


def test_what_is_not_critical_is_as_auto_and_says_so():
    for activation, words in (
        (nn.Sigmoid, "no weights make sigmoid critical, so as auto: "),
        (Squared, "no weights make relu_squared critical, so as auto: "),
        (nn.ReLU, "relu keeps any second moment, so as auto: "),
    ):
        own, auto = planned(activation), planned(activation, "auto")
        for name in ("0.weight", "2.weight", "24.weight", "2.bias"):
            assert own[name].initializer == auto[name].initializer
        assert own["2.weight"].why == words + auto["2.weight"].why
    assert planned(Squared)["2.weight"].why.endswith("a deviation grows ×2 per layer, at any scale")
    assert isinstance(planned(nn.Sigmoid)["2.weight"].initializer, Mirrored)


def test_a_scale_that_cannot_be_kept_is_refused():
    with pytest.raises(
        ArgumentError, match=r"recipe 'critical,variance=1' cannot initialize '0\.weight': sigmoid cannot"
    ):
        planned(nn.Sigmoid, "critical,variance=1")
    assert named("critical").name == "critical"


class Net(nn.Module):
    """A chain of three, a norm, a gate, a sum and a weight used twice."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = (nn.Linear(8, 8) for _ in range(3))
        self.norm = nn.LayerNorm(8)
        self.gate, self.up, self.down = (nn.Linear(8, 8, bias=False) for _ in range(3))
        self.twice = nn.Linear(8, 8)

    def forward(self, x):
        x = self.c(torch.tanh(self.b(torch.relu(self.a(x)))))
        x = self.norm(x)
        x = x + self.down(nn.functional.silu(self.gate(x)) * self.up(x))
        return self.twice(torch.tanh(self.twice(x)))


def test_what_weights_read_and_the_chains_they_form():
    graph = trace(Net(), torch.zeros(2, 8))
    uses = {use.tensor: use for use in graph.uses if use.axes is not None}
    assert [uses[f"{name}.weight"].reads for name in "abc"] == ["", "relu", "tanh"]
    assert [graph.places[f"{name}.weight"].chain for name in "abc"] == [0, 1, 2]
    assert graph.places["b.bias"].chain == 1
    assert graph.places["b.weight"].chained == 3
    assert [uses[f"{name}.weight"].normed for name in "abc"] == [False, False, True]
    assert uses["up.weight"].gated_by == "silu"
    assert uses["gate.weight"].gated_by == uses["down.weight"].reads == ""
    assert graph.places.get("twice.weight") is None or graph.places["twice.weight"].chain is None


@pytest.mark.parametrize("layer", [nn.Dropout(0.1), nn.Identity(), nn.MaxPool2d(2)])
def test_what_a_chain_passes(layer):
    model = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.GELU(), layer, nn.Conv2d(4, 4, 3, padding=1))
    graph = trace(model, torch.zeros(2, 4, 8, 8))
    last = next(use for use in graph.uses if use.tensor == "3.weight")
    assert last.reads == "gelu"
    place = graph.places.get("3.weight")
    assert (place is not None and place.chain == 1) == (not isinstance(layer, nn.MaxPool2d))


def test_composed_norms_are_seen():
    class Scaled(nn.Module):
        def forward(self, x):
            return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)

    graph = trace(nn.Sequential(nn.Linear(8, 8), Scaled(), nn.ReLU(), nn.Linear(8, 8)), torch.zeros(2, 8))
    weights = [use for use in graph.uses if use.axes is not None]
    assert weights[0].normed
    assert weights[1].reads == ""


def test_an_output_that_two_weights_read_forms_no_chain():
    class Fork(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = (nn.Linear(8, 8) for _ in range(3))

        def forward(self, x):
            x = torch.relu(self.a(x))
            return self.b(x) + self.c(x)

    graph = trace(Fork(), torch.zeros(2, 8))
    assert [use.reads for use in graph.uses if use.axes is not None] == ["", "relu", "relu"]
    assert all(place.chain is None for place in graph.places.values())
