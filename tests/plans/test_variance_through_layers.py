"""Plans drawn into real layers: the signal has the variance that the fans promise."""

from math import sqrt

import pytest
import torch
from torch import nn

from fanin.torch.materialize import materialize
from fanin.torch.planning import initialize, plan


def _conv1d(n_in, n_out):
    from transformers.pytorch_utils import Conv1D

    return Conv1D(n_out, n_in)


# layer, input shape, the part of the output that no border touches
LAYERS = {
    "linear": (lambda: nn.Linear(64, 512), (256, 64), ...),
    "stored [in, out]": (lambda: _conv1d(64, 512), (256, 64), ...),
    "conv1d": (lambda: nn.Conv1d(16, 512, 5), (16, 16, 40), ...),
    "conv2d, strided": (lambda: nn.Conv2d(8, 512, 3, stride=2), (8, 8, 21, 21), ...),
    "conv3d": (lambda: nn.Conv3d(4, 512, 3), (2, 4, 8, 8, 8), ...),
    "grouped": (lambda: nn.Conv2d(32, 512, 3, groups=8), (8, 32, 12, 12), ...),
    "depthwise": (lambda: nn.Conv2d(512, 512, 5, groups=512), (4, 512, 14, 14), ...),
    "dilated": (lambda: nn.Conv2d(8, 512, 3, dilation=3), (8, 8, 16, 16), ...),
    "conv1d, strided and dilated": (lambda: nn.Conv1d(16, 512, 5, stride=3, dilation=2), (16, 16, 60), ...),
    "conv2d, grouped, strided": (lambda: nn.Conv2d(32, 512, 3, stride=2, groups=4), (8, 32, 15, 15), ...),
    "conv3d, strided": (lambda: nn.Conv3d(4, 512, 3, stride=(1, 2, 2)), (4, 4, 6, 9, 9), ...),
    "conv3d, depthwise": (lambda: nn.Conv3d(512, 512, 3, groups=512), (2, 512, 5, 5, 5), ...),
    "depthwise, widening": (lambda: nn.Conv1d(256, 512, 5, groups=256), (8, 256, 30), ...),
    "transposed": (lambda: nn.ConvTranspose2d(16, 512, 3), (4, 16, 12, 12), slice(2, -2)),
    "transposed, strided": (lambda: nn.ConvTranspose2d(16, 512, 4, stride=2), (4, 16, 12, 12), slice(2, -2)),
    "transposed 3d, strided": (lambda: nn.ConvTranspose3d(8, 512, 4, stride=(2, 1, 2)), (2, 8, 6, 6, 6), slice(3, -3)),
    "transposed, depthwise": (
        lambda: nn.ConvTranspose1d(512, 512, 6, stride=2, groups=512),
        (4, 512, 40),
        slice(5, -5),
    ),
    "transposed, grouped": (lambda: nn.ConvTranspose1d(64, 512, 6, stride=3, groups=4), (8, 64, 40), slice(6, -6)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_lecun_passes_unit_variance(name):
    make, shape, inner = LAYERS[name]
    layer = make()
    initialize(layer, "lecun", torch.zeros(shape), seed=5)
    inputs = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    out = layer(inputs).detach().double()
    if inner is not ...:
        out = out[(slice(None), slice(None), *(inner,) * (out.dim() - 2))]
    # Given the inputs, output units are independent: their mean squares give the standard error.
    squares = out.transpose(0, 1).flatten(1).square().mean(1)
    error = sqrt(squares.var().item() / len(squares) + 2 / inputs.numel())
    assert abs(squares.mean().item() - 1) < 5 * error
    assert 5 * error < 0.2


def _moment(model, signal):
    with torch.no_grad():
        return model(signal).square().mean().item()


@pytest.mark.parametrize("activation", [nn.ReLU, nn.SELU, lambda: nn.LeakyReLU(0.3)])
def test_he_keeps_the_second_moment_through_twenty_layers(activation):
    width, depth, models = 128, 20, 40
    layers = [layer for _ in range(depth) for layer in (nn.Linear(width, width), activation())]
    model = nn.Sequential(*layers)
    signal = torch.randn(64, width, generator=torch.Generator().manual_seed(2))
    made = plan(model, "he", signal)
    moments = [_moment(materialize(model, made, seed=seed), signal) for seed in range(models)]
    # The log of the moment is a sum over layers; He's claim is about the mean over networks.
    logs = torch.tensor(moments).log()
    error = (logs.std() / sqrt(models)).item()
    centre = logs.mean().item() + logs.var().item() / 2
    assert abs(centre) < 5 * sqrt(error**2 + logs.var().item() ** 2 / (2 * models)) + 0.02


@pytest.mark.parametrize(("recipe", "expected"), [("xavier", 2.0**-20), ("lecun", 2.0**-20)])
def test_without_the_gain_relu_halves_the_moment_at_every_layer(recipe, expected):
    model = nn.Sequential(*(layer for _ in range(20) for layer in (nn.Linear(256, 256), nn.ReLU())))
    signal = torch.randn(64, 256, generator=torch.Generator().manual_seed(2))
    initialize(model, recipe, signal)
    assert expected / 3 < _moment(model, signal) < expected * 3


def test_orthogonal_keeps_lengths():
    model = nn.Sequential(*(nn.Linear(64, 64) for _ in range(10)))
    signal = torch.randn(16, 64, generator=torch.Generator().manual_seed(2))
    initialize(model, "orthogonal", signal)
    assert torch.allclose(model(signal).norm(dim=1), signal.norm(dim=1), rtol=1e-4)
