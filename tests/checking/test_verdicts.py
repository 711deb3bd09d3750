"""Each verdict, on real models that are broken or healthy for a known reason."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

import fanin.models
from fanin.checking import Report, check
from fanin.data import mnist
from fanin.torch.planning import initialize


@pytest.fixture(scope="module")
def digits() -> tuple[torch.Tensor, torch.Tensor]:
    test = mnist().test
    return torch.from_numpy(test.inputs[:100]), torch.from_numpy(test.targets[:100])


def deep(layers: int, width: int = 128, activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    hidden = [part for _ in range(layers) for part in (nn.Linear(width, width), activation())]
    return nn.Sequential(*hidden, nn.Linear(width, 10))


def filled(model: nn.Module, law: Callable[[torch.Tensor], object], biases: bool = False) -> nn.Module:
    for parameter in model.parameters():
        if parameter.ndim > 1 or biases:
            law(parameter)
        else:
            nn.init.zeros_(parameter)
    return model


def batch(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def summary(report: Report) -> tuple[str, str | None, list[str]]:
    return report.verdict, report.starts, [f.tensor for f in report.findings if f.severity == "error"]


@pytest.mark.parametrize("name", ["mnist-fc", "mnist-cnn"])
@pytest.mark.parametrize("recipe", ["native", "he", "xavier", "orthogonal"])
def test_good_starts_are_healthy(name: str, recipe: str, digits: tuple[torch.Tensor, torch.Tensor]) -> None:
    model = fanin.models.build(name)
    initialize(model, recipe, digits[0])
    report = check(model, *digits)
    assert (report.verdict, report.starts, report.findings) == ("healthy", None, ())
    assert all(layer.verdict == "healthy" for layer in report.layers)


def test_two_layers_with_small_logits_do_not_vanish(digits: tuple[torch.Tensor, torch.Tensor]) -> None:
    model = filled(fanin.models.build("mnist-fc"), lambda p: nn.init.normal_(p, 0, 0.01), biases=True)
    assert check(model, *digits).verdict == "healthy"


def test_ggmls_start_vanishes_in_the_convolutions(digits: tuple[torch.Tensor, torch.Tensor]) -> None:
    model = filled(fanin.models.build("mnist-cnn"), lambda p: nn.init.normal_(p, 0, 0.01), biases=True)
    assert summary(check(model, *digits))[:2] == ("vanishing", "conv2")


@pytest.mark.parametrize("value", [0.0, 0.1])
@pytest.mark.parametrize(("name", "first"), [("mnist-fc", "fc1"), ("mnist-cnn", "conv1")])
def test_constant_weights_are_symmetric(
    value: float, name: str, first: str, digits: tuple[torch.Tensor, torch.Tensor]
) -> None:
    model = filled(fanin.models.build(name), lambda p: nn.init.constant_(p, value))
    verdict, starts, errors = summary(check(model, *digits))
    assert (verdict, starts) == ("symmetric", first)
    assert f"{first}.weight" in errors


def test_some_copied_units_are_a_warning() -> None:
    model = nn.Sequential(nn.Linear(16, 32), nn.Tanh(), nn.Linear(32, 4))
    with torch.no_grad():
        model[0].weight[5], model[0].bias[5] = model[0].weight[9], model[0].bias[9]
        model[2].weight[:, 5] = model[2].weight[:, 9]
    report = check(model, batch(8, 16))
    (finding,) = report.findings
    assert (report.verdict, finding.severity, finding.tensor) == ("healthy", "warning", "0.weight")
    assert finding.seen.startswith("2 of 32 units have the weights and the gradient of another unit")


def test_copies_with_different_outgoing_weights_are_fine() -> None:
    model = nn.Sequential(nn.Linear(16, 32), nn.Tanh(), nn.Linear(32, 4))
    with torch.no_grad():
        model[0].weight[5], model[0].bias[5] = model[0].weight[9], model[0].bias[9]
    assert check(model, batch(8, 16)).findings == ()


def test_small_weights_vanish_in_depth() -> None:
    report = check(filled(deep(10), lambda p: nn.init.normal_(p, 0, 0.01)), batch(32, 128))
    assert report.verdict == "vanishing"
    assert report.starts == "2"
    messages = [str(finding) for finding in report.findings]
    assert any("2.weight: vanishing forward" in message for message in messages)
    assert all("0.weight" not in message for message in messages[:1])


def test_torchs_default_vanishes_in_depth_behind_its_biases() -> None:
    report = check(deep(20), batch(32, 128))
    sizes = [layer.measured.forward.second for layer in report.layers]
    assert report.verdict == "vanishing"
    assert min(sizes) > 1e-4  # E[h²] alone would not show it: the biases keep it up


def test_gradients_vanish_where_the_signal_does_not() -> None:
    model = filled(deep(12, activation=nn.Tanh), lambda p: nn.init.normal_(p, 0, 2.0))
    report = check(model, batch(32, 128))
    assert report.verdict == "exploding"  # saturated: E[h²] ≈ 1, gradients grow by fan_out·σ²·E[f′²]
    assert {layer.direction for layer in report.layers if layer.verdict != "healthy"} == {"backward"}


def test_wide_unit_normals_explode(digits: tuple[torch.Tensor, torch.Tensor]) -> None:
    model = filled(fanin.models.build("mnist-fc"), nn.init.normal_)
    assert summary(check(model, *digits)) == ("exploding", "fc2", ["fc2.weight", "loss"])


@pytest.mark.parametrize(("activation", "law"), [(nn.ReLU, nn.init.kaiming_normal_), (nn.Tanh, nn.init.xavier_normal_)])
def test_fifty_layers_with_the_right_gain_are_healthy(activation: type[nn.Module], law: Callable[..., object]) -> None:
    model = filled(
        deep(50, activation=activation), lambda p: law(p, nonlinearity="relu") if activation is nn.ReLU else law(p)
    )
    assert check(model, batch(32, 128)).verdict == "healthy"


def test_sigmoid_with_xavier_vanishes() -> None:
    assert check(filled(deep(10, activation=nn.Sigmoid), nn.init.xavier_normal_), batch(32, 128)).verdict == "vanishing"


def test_a_bias_can_kill_a_layer() -> None:
    model = deep(2)
    nn.init.constant_(model[2].bias, -5.0)
    report = check(model, batch(32, 128))
    assert summary(report)[:2] == ("dead", "3")
    (finding,) = [f for f in report.findings if f.tensor == "3"]
    assert finding.seen == "128 of 128 units are zero for every sample"
    exec(finding.remedy, {"torch": torch, "model": model})
    assert check(model, batch(32, 128)).verdict == "healthy"


def test_overflow_is_non_finite() -> None:
    model = deep(3)
    nn.init.constant_(model[2].weight, 1e38)
    report = check(model, batch(8, 128))
    assert summary(report)[:2] == ("non-finite", "2")
    assert "outputs of layer 2 NaN or infinite" in report.findings[0].seen


def test_a_damaged_weight_is_named() -> None:
    model = deep(2)
    with torch.no_grad():
        model[0].weight[3, 4] = float("nan")
    report = check(model, batch(8, 128))
    assert report.verdict == "non-finite"
    assert str(report.findings[0]).startswith("error: 0.weight: 1 of 16,384 values NaN or infinite")


class Block(nn.Module):
    """A residual block without normalisation whose branch ends in zeros (Fixup, SkipInit)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(width, width), nn.Linear(width, width)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.last(torch.relu(self.first(x)))


def test_branches_and_heads_that_start_at_zero_are_healthy() -> None:
    model = nn.Sequential(*(Block(64) for _ in range(6)), nn.Linear(64, 10))
    nn.init.zeros_(model[6].weight)
    nn.init.zeros_(model[6].bias)
    assert check(model, batch(16, 64)).verdict == "healthy"


def test_zero_residual_branches_say_what_does_not_move() -> None:
    report = check(nn.Sequential(*(Block(64) for _ in range(3)), nn.Linear(64, 10)), batch(16, 64))
    (finding,) = report.findings
    assert (finding.severity, finding.tensor) == ("info", "0.first.weight")
    assert "exactly zero in the first step (and 5 more)" in finding.seen


def test_transformer_and_batch_norm_are_healthy() -> None:
    layer = nn.TransformerEncoderLayer(64, 4, 128, norm_first=True, batch_first=True)
    transformer = nn.Sequential(
        nn.Embedding(100, 64), nn.TransformerEncoder(layer, 4, enable_nested_tensor=False), nn.Linear(64, 100)
    )
    tokens = torch.arange(64).reshape(4, 16)
    assert check(transformer, tokens).verdict == "healthy"
    convolutions = [
        part
        for place in range(6)
        for part in (nn.Conv2d(16 if place else 3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(inplace=True))
    ]
    network = nn.Sequential(*convolutions, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))
    assert check(network, batch(8, 3, 12, 12)).verdict == "healthy"


def test_plain_batch_norm_explodes_backward_in_depth() -> None:
    hidden = [part for _ in range(50) for part in (nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU())]
    report = check(nn.Sequential(*hidden, nn.Linear(64, 10)), batch(64, 64))
    assert report.verdict == "exploding"
    assert {layer.direction for layer in report.layers if layer.verdict == "exploding"} == {"backward"}


def test_raw_pixels_are_noticed(digits: tuple[torch.Tensor, torch.Tensor]) -> None:
    report = check(fanin.models.build("mnist-fc"), digits[0] * 255, digits[1])
    loss, finding = report.findings
    assert (loss.rule, finding.rule) == ("loss-above-uniform", "input-scale")
    assert (finding.severity, finding.tensor) == ("warning", "inputs")
    assert np.isclose(float(finding.seen.split()[-1]), 255 * float(digits[0].pow(2).mean().sqrt()), rtol=1e-2)


def test_unused_parameters_are_noticed() -> None:
    model = nn.Sequential(nn.Linear(4, 4))
    model.register_parameter("spare", nn.Parameter(torch.ones(3)))
    (finding,) = check(model, batch(5, 4)).findings
    assert (finding.tensor, finding.remedy) == ("spare", 'model.get_parameter("spare").requires_grad_(False)')
