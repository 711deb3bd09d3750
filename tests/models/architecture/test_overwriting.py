"""Operations that overwrite their input, numbers that depend on the batch, parts that descriptions lack."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fanin.errors import ArgumentError
from fanin.models import build
from fanin.models.architecture import describe


class Net(nn.Module):
    def __init__(self, how):
        super().__init__()
        self.how, self.first, self.last = how, nn.Linear(4, 4), nn.Linear(4, 2)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x):
        return self.last(self.how(self, self.first(x)))


def by_function(net, h):
    F.relu(h, inplace=True)
    return h


def by_place(net, h):
    F.relu(h, True)
    return h


def by_method(net, h):
    h.relu_()
    return h


def by_layer(net, h):
    net.act(h)
    return h


def under_two_names(net, h):
    before = h
    return F.relu_(h) + before


def by_operator(net, h):
    other = h
    other += 1.0
    other *= 2.0
    return h


def twice(net, h):
    return h.relu_().sub_(1.0).tanh_()


@pytest.mark.parametrize(
    "how",
    [by_function, by_place, by_method, by_layer, under_two_names, by_operator, twice],
    ids=lambda how: how.__name__,
)
def test_what_is_overwritten_is_read_as_it_is_afterwards(how):
    model, x = Net(how).eval(), torch.randn(3, 4, generator=torch.Generator().manual_seed(1))
    built = describe(model, x).build().eval()
    built.load_state_dict(model.state_dict())
    assert torch.equal(built(x.clone()), model(x.clone()))


def a_view(net, h):
    h.view(-1, 2, 2).relu_()
    return h


def a_part(net, h):
    h[:, 0] = 0.0
    return h


def a_weight(net, h):
    net.first.bias.add_(1.0)
    return h


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (a_view, "relu_ overwrites memory that first looks at, too, and that is read later"),
        (a_part, "item assignment"),
        (a_weight, "add_ overwrites the stored tensor 'first.bias'"),
        (lambda net, h: h / h.shape[0] ** 0.5, "'divide' depends on the batch size"),
        (lambda net, h: h * (h.shape[0] + 1), "'scale' depends on the batch size"),
    ],
)
def test_what_cannot_be_told(how, message):
    with pytest.raises(ArgumentError, match=message):
        describe(Net(how), torch.zeros(3, 4))


def test_numbers_from_other_sizes_are_numbers():
    layers = describe(Net(lambda net, h: torch.add(h / h.shape[1] ** 0.5, 3, alpha=2)), torch.zeros(3, 4)).layers
    assert [layer.options for layer in layers[1:3]] == [{"by": 2.0}, {"by": 6}]


class Weights(nn.Module):
    def __init__(self, weights):
        super().__init__()
        self.attend, self.weights = nn.MultiheadAttention(8, 2, batch_first=True), weights

    def forward(self, x):
        out, weights = self.attend(x, x, x)
        return (out, weights) if self.weights else out


def test_weights_of_attention_are_refused():
    assert [layer.type for layer in describe(Weights(weights=False), torch.zeros(3, 5, 8)).layers] == [
        "multihead_attention"
    ]
    with pytest.raises(ArgumentError, match=r"a part of what layer 'attend' \(multihead_attention\) returns is used"):
        describe(Weights(weights=True), torch.zeros(3, 5, 8))


class Enlarged(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, stride=2, padding=1)

    def forward(self, x):
        return F.interpolate(self.conv(x), size=x.shape[-2:])


def test_sizes_that_are_read_off_a_tensor():
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    model = Enlarged()
    built = describe(model, x).build()
    built.load_state_dict(model.state_dict())
    assert torch.equal(built(x), model(x))


@pytest.mark.parametrize("hidden", [0, -1])
def test_a_vit_without_hidden_features(hidden):
    with pytest.raises(ArgumentError, match="hidden"):
        build(f"vit:hidden={hidden}")
