"""State-space parameters: decays, however they are kept, time steps, direct paths, and what is none of these."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fanin.graph import role
from fanin.torch.trace import trace


class Scan(nn.Module):
    """A scan over 5 steps whose decay `way` computes from a parameter and a signal, with a direct path."""

    def __init__(self, way):
        super().__init__()
        self.x, self.t, self.out = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)
        self.a, self.d, self.way = nn.Parameter(torch.zeros(8)), nn.Parameter(torch.zeros(8)), way

    def forward(self, u):
        x, decay = self.x(u), self.way(self.a, self.t(u))
        state, outputs = x[:, 0], [x[:, 0]]
        for step in range(1, 5):
            state = decay[:, step] * state + x[:, step]
            outputs.append(state)
        return u + self.out(torch.stack(outputs, 1) + self.d * x)


def roles(model):
    graph = trace(model, torch.zeros(2, 5, 8))
    return {name: role("parameter", graph.of(name)) for name, _ in model.named_parameters()}


DECAYS = {
    "softplus": lambda a, t: torch.exp(a * F.softplus(t)),
    "softplus, kept as a logarithm": lambda a, t: torch.exp(-torch.exp(a) * F.softplus(t)),
    "a gate": lambda a, t: torch.exp(-8 * F.softplus(a) * torch.sigmoid(t)),
}
NO_DECAYS = {
    "no positive time": lambda a, t: torch.exp(a * t),
    "a temperature": lambda a, t: torch.exp(torch.exp(a) * t),
    "a gate times any factor": lambda a, t: torch.exp(a * torch.sigmoid(t)),
    "no exponential": lambda a, t: torch.sigmoid(a * F.softplus(t)),
    "the exponential of chances": lambda a, t: torch.exp(torch.softmax(a * F.softplus(t), -1)),
    "chances": lambda a, t: torch.softmax(a * F.softplus(t), -1),
}


@pytest.mark.parametrize("way", DECAYS)
def test_decays(way):
    found = roles(Scan(DECAYS[way]))
    assert (found["a"], found["d"]) == ("state-space A", "state-space D")
    assert found["t.bias"] == ("bias" if way == "a gate" else "time step")
    assert found["x.bias"] == "bias"


@pytest.mark.parametrize("way", NO_DECAYS)
def test_factors_that_are_no_decays(way):
    found = roles(Scan(NO_DECAYS[way]))
    assert (found["a"], found["d"], found["t.bias"]) == ("scale", "scale", "bias")


class Weighted(nn.Module):
    """RWKV's mean of values with exponential weights: a decay of −exp(a) per step, and a bonus for the present one."""

    def __init__(self, decay=torch.exp):
        super().__init__()
        self.k, self.v, self.out = (nn.Linear(8, 8, bias=False) for _ in range(3))
        self.a, self.bonus, self.decay = nn.Parameter(torch.zeros(8)), nn.Parameter(torch.zeros(8)), decay

    def forward(self, x):
        keys, values, outputs = self.k(x), self.v(x), []
        top, above, below = keys[:, 0], values[:, 0], torch.ones_like(values[:, 0])
        for key, value in zip(keys.unbind(1), values.unbind(1), strict=True):
            present = torch.exp(key + self.bonus)
            outputs.append((above + present * value) / (below + present))
            weight = torch.exp(top - self.decay(self.a) - key)
            above, below, top = weight * above + value, weight * below + 1, key
        return x + self.out(torch.stack(outputs, 1))


def test_decays_that_are_added_as_logarithms():
    found = roles(Weighted())
    assert (found["a"], found["bonus"]) == ("state-space A", "state-space D")


def test_without_a_decay_what_is_added_before_an_exponential_is_a_bias():
    found = roles(Weighted(decay=lambda a: a))
    assert (found["a"], found["bonus"]) == ("bias", "bias")


class Mixed(nn.Module):
    """A share of each channel of a normalised signal, as RWKV mixes it with the step before."""

    def __init__(self, affine):
        super().__init__()
        self.norm, self.share, self.out = (
            nn.LayerNorm(8, elementwise_affine=affine),
            nn.Parameter(torch.ones(8)),
            nn.Linear(8, 8),
        )

    def forward(self, x):
        y = self.norm(x)
        return self.out(y * self.share)


@pytest.mark.parametrize(("affine", "expected"), [(True, "scale"), (False, "norm scale")])
def test_a_factor_behind_a_norm_is_its_scale_only_where_it_has_none(affine, expected):
    assert roles(Mixed(affine))["share"] == expected
