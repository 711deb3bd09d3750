"""Fans belong to the operation: each formula is held against what a real layer does to the variance."""

import pytest
import torch

from fanin import ArgumentError, Axes

CASES = [
    (torch.nn.Linear(96, 64, bias=False), Axes.linear((64, 96)), (96.0, 64.0)),
    (torch.nn.Conv2d(32, 64, 3, bias=False), Axes.conv((64, 32, 3, 3)), (288.0, 576.0)),
    (torch.nn.Conv2d(32, 64, 3, groups=8, bias=False), Axes.conv((64, 4, 3, 3), groups=8), (36.0, 72.0)),
    (torch.nn.Conv1d(64, 64, 5, groups=64, bias=False), Axes.conv((64, 1, 5), groups=64), (5.0, 5.0)),
    (torch.nn.ConvTranspose2d(64, 16, 4, bias=False), Axes.conv_transpose((64, 16, 4, 4)), (1024.0, 256.0)),
    (
        torch.nn.ConvTranspose2d(64, 32, 4, stride=2, groups=4, bias=False),
        Axes.conv_transpose((64, 8, 4, 4), groups=4, stride=4),
        (64.0, 128.0),
    ),
]


@pytest.mark.parametrize(("layer", "axes", "fans"), CASES, ids=lambda case: str(case)[:40])
def test_fan_in_is_the_variance_gain_of_the_layer(layer, axes, fans):
    assert axes.shape == tuple(layer.weight.shape)
    assert axes.fans == fans
    draws = []
    for seed in range(24):
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            layer.weight.normal_(0, axes.fan_in**-0.5, generator=generator)
            size = (4, layer.weight.shape[1]) if isinstance(layer, torch.nn.Linear) else None
            size = size or (4, layer.in_channels, *(24,) * len(layer.kernel_size))
            output = layer(torch.randn(size, generator=generator)).double()
            inner = output if output.ndim == 2 else output[(..., *(slice(4, -4),) * (output.ndim - 2))]
            draws.append(float(inner.square().mean()))
    sample = torch.tensor(draws)
    standard_error = float(sample.std() / len(draws) ** 0.5)
    assert abs(float(sample.mean()) - 1) < 5 * standard_error
    assert standard_error < 0.02


def test_receptive_field_is_what_is_left():
    assert Axes((8, 3, 5, 5), outputs=(0,), inputs=(1,)).receptive == (2, 3)
    assert Axes((4, 8, 6), outputs=(1,), inputs=(2,), batch=(0,)).fans == (6.0, 8.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shape": (4, 3), "outputs": (0,), "inputs": (0,)}, "each must name a different dimension from 0 to 1"),
        ({"shape": (4, 3), "outputs": (0,), "inputs": (2,)}, "do not fit shape (4, 3)"),
        ({"shape": (4, 3), "outputs": (0,), "inputs": (1,), "groups": 3}, "3 groups do not divide 4 channels"),
        ({"shape": (4, 3), "outputs": (0,), "inputs": (1,), "groups": 0}, "must be at least 1, got 0"),
    ],
)
def test_impossible_axes_are_refused(arguments, message):
    with pytest.raises(ArgumentError, match=message.replace("(", r"\(").replace(")", r"\)")):
        Axes(**arguments)
