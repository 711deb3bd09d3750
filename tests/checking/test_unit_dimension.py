"""The dimension of the units is followed through rearrangements; a norm over another one is not predicted."""

import pytest
import torch
from torch import nn

from fanin.torch.probe import probe

GENERATOR_SEED = 7


def batch(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(GENERATOR_SEED))


class Rearranged(nn.Module):
    """A convolution with four silent channels, a rearrangement, a ReLU."""

    def __init__(self, rearrange):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        with torch.no_grad():
            self.conv.bias[:4] = -100.0
        self.act = nn.ReLU()
        self.rearrange = rearrange

    def forward(self, x):
        return self.act(self.rearrange(self.conv(x)))


@pytest.mark.parametrize(
    "rearrange",
    [
        lambda x: x.permute(0, 2, 3, 1),
        lambda x: x.transpose(1, 3),
        lambda x: x.movedim(1, -1),
        lambda x: x.flatten(2).transpose(1, 2),
        lambda x: x.unsqueeze(1),
        lambda x: x,
    ],
)
def test_dead_units_are_counted_along_the_channels(rearrange):
    # Height and width equal the number of channels, so sizes cannot tell them apart.
    layer = probe(Rearranged(rearrange), batch(4, 3, 8, 8)).layers[-1]
    assert (layer.name, layer.units, layer.dead) == ("act", 8, 4)


def test_units_merged_with_positions_are_all_of_them():
    layer = probe(Rearranged(lambda x: x.flatten(1)), batch(64, 3, 8, 8)).layers[-1]
    assert (layer.units, layer.dead) == (512, 256)


def test_a_norm_over_positions_is_not_predicted():
    # Along the width the input is constant, so that the norm has nothing to divide by; over channels it would have.
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 64, 1, bias=False), nn.LayerNorm(16), nn.Conv2d(64, 8, 1))
    seen = probe(model, batch(8, 3, 8, 1).expand(8, 3, 8, 16).contiguous()).layers
    assert seen[1].expected_forward is None
    assert seen[1].forward.second < 1e-6
    assert seen[2].expected_forward == pytest.approx(seen[2].forward.second, rel=0.1)


def test_a_norm_over_channels_last_is_predicted():
    class ChannelsLast(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.conv, self.norm, self.head = nn.Conv2d(3, 16, 3), nn.LayerNorm(16), nn.Linear(16, 4)

        def forward(self, x):
            return self.head(self.norm(self.conv(x).permute(0, 2, 3, 1)))

    norm = probe(ChannelsLast(), batch(8, 3, 18, 18)).layers[1]
    assert norm.expected_forward == pytest.approx(1.0, rel=1e-3)


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_rms_norm_keeps_the_mean(scale):
    # With biases of 2 nearly all that the ReLU sees is positive: it passes the whole second moment, not half of it.
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 512), nn.RMSNorm(512), nn.ReLU(), nn.Linear(512, 64))
    nn.init.constant_(model[0].bias, 2.0)
    nn.init.constant_(model[1].weight, scale)
    for layer in probe(model, batch(64, 16)).layers[:3]:
        assert layer.expected_forward == pytest.approx(layer.forward.second, rel=0.02), layer.name
