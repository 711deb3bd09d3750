"""Expected moments: the theory's numbers exactly, and the measured ones within their sampling error."""

from __future__ import annotations

from math import exp, sqrt
from statistics import mean

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from fanin.torch.probe import LayerProbe, probe
from fanin.torch.probe.quadrature import gaussian_pass

SEEDS, WIDTH = 4, 192


def mlp(layers: int, width: int, activation: type[nn.Module], gain: float, seed: int) -> nn.Sequential:
    generator = torch.Generator().manual_seed(seed)
    parts: list[nn.Module] = []
    for _ in range(layers):
        linear = nn.Linear(width, width, bias=False)
        nn.init.normal_(linear.weight, 0, gain / sqrt(width), generator=generator)
        parts += [linear, activation()]
    return nn.Sequential(*parts)


def inputs(count: int, width: int) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(99))


def laws(model: nn.Module, std: float) -> dict[str, tuple[float, float]]:
    return {name: (0.0, std) for name, _ in model.named_parameters()}


@pytest.mark.parametrize(
    ("function", "second", "slope"),
    [
        (F.relu, 0.5, 0.5),
        (F.gelu, 0.425221, 1 / 1.481114**2),
        (torch.tanh, 0.394294, 1 / 1.467414**2),
        (F.silu, 0.355776, 1 / 1.623320**2),
        (F.selu, 1.0, 1 / 0.966026**2),
        (torch.sin, 0.432332, 1 / 1.327251**2),
    ],
)
@pytest.mark.parametrize("entries", [1, 2000])
def test_gaussian_integrals(function: object, second: float, slope: float, entries: int) -> None:
    ones = torch.ones(entries, dtype=torch.float64)
    spread = ones * torch.linspace(1.0, 0.1, entries, dtype=torch.float64)
    passed = gaussian_pass(function, torch.zeros_like(ones), spread)  # pyright: ignore[reportArgumentType]
    assert passed is not None
    assert passed.second[0].item() == pytest.approx(second, rel=1e-3)
    assert passed.slope[0].item() == pytest.approx(slope, rel=1e-3)


def test_the_table_agrees_with_the_integral() -> None:
    q = torch.logspace(-6, 2, 5000, dtype=torch.float64)
    table = gaussian_pass(torch.tanh, torch.zeros_like(q), q)
    direct = gaussian_pass(torch.tanh, torch.zeros(1, dtype=torch.float64), q[2500:2501])
    assert table is not None
    assert direct is not None
    assert table.second[2500].item() == pytest.approx(direct.second.item(), rel=3e-3)
    assert table.slope[2500].item() == pytest.approx(direct.slope.item(), rel=3e-3)


def test_he_keeps_relu_at_a_fixed_point_exactly() -> None:
    model, x = mlp(20, 64, nn.ReLU, sqrt(2), 0), inputs(16, 64)
    seen = probe(model, x, laws=laws(model, sqrt(2 / 64)))
    start = float(x.double().pow(2).mean())
    assert [layer.expected_forward for layer in seen.layers[::2]] == pytest.approx([2 * start] * 20, rel=1e-6)
    assert [layer.expected_forward for layer in seen.layers[1::2]] == pytest.approx([start] * 20, rel=1e-6)
    last = seen.layers[-1].gradient
    assert last is not None
    assert [layer.expected_gradient for layer in seen.layers[:-1:2]] == pytest.approx([last.second / 2] * 20, rel=1e-6)


def test_rectangular_layers_use_the_right_fans() -> None:
    model = nn.Sequential(nn.Linear(10, 40), nn.ReLU(), nn.Linear(40, 5))
    law = {"0.weight": (0.0, 0.3), "0.bias": (0.0, 0.2), "2.weight": (0.0, 0.5), "2.bias": (1.0, 0.0)}
    x = inputs(8, 10)
    first, act, last = probe(model, x, laws=law).layers
    q = 10 * 0.09 * float(x.double().pow(2).mean()) + 0.04
    assert first.expected_forward == pytest.approx(q, rel=1e-6)
    assert act.expected_forward == pytest.approx(q / 2, rel=1e-6)
    assert last.expected_forward == pytest.approx(40 * 0.25 * q / 2 + 1, rel=1e-6)
    assert last.gradient is not None
    assert act.expected_gradient == pytest.approx(5 * 0.25 * last.gradient.second, rel=1e-6)


def test_convolutions_know_their_borders_strides_and_groups() -> None:
    conv = nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2, bias=False)
    model = nn.Sequential(conv, nn.ReLU(), nn.ConvTranspose2d(6, 2, 4, stride=2, padding=1, groups=2, bias=False))
    law = {"0.weight": (0.0, 0.5), "2.weight": (0.0, 0.25)}
    ones = torch.ones(2, 4, 6, 6)
    first, _, last = probe(model, ones, laws=law).layers
    seen = F.conv2d(torch.ones(1, 1, 6, 6), torch.ones(1, 1, 3, 3), stride=2, padding=1)
    q = 2 * 0.25 * seen
    assert first.expected_forward == pytest.approx(float(q.mean()), rel=1e-6)
    back = F.conv_transpose2d(q / 2, torch.ones(1, 1, 4, 4), stride=2, padding=1)
    assert last.expected_forward == pytest.approx(3 * 0.0625 * float(back.mean()), rel=1e-6)


def _ratios(activation: type[nn.Module], gain: float, width: int) -> list[tuple[float, float]]:
    """(forward, backward) ratio of measured to expected for each layer and seed."""
    found: list[tuple[float, float]] = []
    for seed in range(SEEDS):
        model = mlp(20, width, activation, gain, seed)
        layers = probe(model, inputs(8, width), laws=laws(model, gain / sqrt(width))).layers[::2]
        found += [(_ratio(layer, "forward"), _ratio(layer, "backward")) for layer in layers]
    return found


def _ratio(layer: LayerProbe, direction: str) -> float:
    expected = layer.expected_forward if direction == "forward" else layer.expected_gradient
    measured = layer.forward if direction == "forward" else layer.gradient
    assert expected is not None
    assert measured is not None
    return measured.second / expected


@pytest.mark.parametrize(("activation", "gain"), [(nn.ReLU, sqrt(2)), (nn.Tanh, 1.0)])
def test_measured_moments_follow_the_theory(activation: type[nn.Module], gain: float) -> None:
    ratios = _ratios(activation, gain, WIDTH)
    for direction in (0, 1):
        for place in range(20):
            crossed = 20 - place if direction else place + 1
            # ReLU nets of width n scatter most: each layer crossed multiplies q by 1 ± √(5/n) (log-normal).
            error = sqrt((exp(5 * crossed / WIDTH) - 1) / SEEDS)
            assert abs(mean(pair[direction] for pair in ratios[place::20]) - 1) < 0.05 + 4 * error


def test_one_layer_is_measured_to_its_sampling_error() -> None:
    """Var of q over n units is 2q²/n for one input: 5 standard errors are 1.6 % of q, 0.8 % of std."""
    width, seeds = 16384, 12
    x = inputs(1, 64)
    ratios: list[float] = []
    for seed in range(seeds):
        layer = nn.Linear(64, width, bias=False)
        nn.init.normal_(layer.weight, 0, 0.1, generator=torch.Generator().manual_seed(seed))
        ratios.append(_ratio(probe(nn.Sequential(layer), x, laws={"0.weight": (0.0, 0.1)}).layers[0], "forward"))
    assert abs(mean(ratios) - 1) < 5 * sqrt(2 / width / seeds)


def test_residual_sums_and_layer_norms() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.head = nn.Linear(256, 256), nn.Linear(256, 256)
            self.norms = nn.ModuleList(nn.LayerNorm(256) for _ in range(6))
            self.branches = nn.ModuleList(nn.Linear(256, 256) for _ in range(6))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.embed(x)
            for norm, branch in zip(self.norms, self.branches, strict=True):
                x = x + branch(torch.tanh(norm(x))) * 0.5
            return self.head(x)

    torch.manual_seed(0)
    for layer in probe(Residual(), inputs(16, 256)).layers:
        assert layer.expected_forward is not None
        assert layer.forward.second == pytest.approx(layer.expected_forward, rel=0.2)
        if layer.expected_gradient is not None:
            assert layer.gradient is not None
            assert layer.gradient.second == pytest.approx(layer.expected_gradient, rel=0.25)


class Shared(nn.Module):
    """One weight used twice: its second use is not independent of its input."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Linear(64, 64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.weight(torch.relu(self.weight(x)))


class Doubled(nn.Module):
    """h + h and h + relu(h) are not sums of independent terms."""

    def __init__(self, relu: bool) -> None:
        super().__init__()
        self.weight, self.norm, self.relu = nn.Linear(64, 64), nn.LayerNorm(64), relu
        self.act = nn.Tanh()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.weight(x)
        return self.act(h + (torch.relu(h) if self.relu else h))


def test_no_number_where_theory_has_none() -> None:
    x = inputs(8, 64)
    assert [layer.expected_forward is None for layer in probe(Shared(), x).layers] == [False, False, True]
    for relu in (False, True):
        assert probe(Doubled(relu), x).layers[-1].expected_forward is None
    identity = nn.Sequential(nn.Linear(64, 64, bias=False), nn.ReLU())
    nn.init.eye_(identity[0].weight)
    assert [layer.expected_forward for layer in probe(identity, x).layers] == [None, None]
    pooled = nn.Sequential(nn.Conv1d(1, 8, 3), nn.MaxPool1d(2), nn.Flatten(), nn.Linear(8 * 31, 2))
    assert [layer.expected_forward is None for layer in probe(pooled, x[:, None]).layers] == [False, True, False]


def test_writes_in_place_are_not_missed() -> None:
    class Written(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.act, self.last = nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = self.first(x)
            h.clamp_(-0.1, 0.1)
            return self.last(self.act(h))

    first, act, last = probe(Written(), inputs(8, 8)).layers
    assert act.expected_forward is None
    assert first.expected_gradient is None
    assert last.expected_forward is not None
