"""Residual branches of modules written out here: what ends them, and what is none."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fanin.graph import role
from fanin.torch.trace import trace


class Around(nn.Module):
    """One function of the input and of named layers."""

    def __init__(self, function, **layers):
        super().__init__()
        self.function = function
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x):
        return self.function(self, x)


def ends(function, x=None, **layers):
    graph = trace(Around(function, **layers), torch.zeros(2, 5, 8) if x is None else x)
    return {name.removesuffix(".weight") for name, place in graph.places.items() if place.last}


def linears(*names, size=8):
    return {name: nn.Linear(size, size) for name in names}


def test_a_model_that_is_the_container_itself_has_layers_of_a_stack_without_a_name():
    def block():
        return Around(lambda m, x: x + m.b(F.gelu(m.a(x))), **linears("a", "b"))

    places = trace(nn.Sequential(block(), block()), torch.zeros(2, 5, 8)).places
    assert [(places[f"{n}.a.weight"].stack, places[f"{n}.a.weight"].layer) for n in (0, 1)] == [("", 0), ("", 1)]
    assert {(place.layers, place.branches) for place in places.values()} == {(2, 2)}


SUMS = {
    "pre-norm": (lambda m, x: x + m.b(F.gelu(m.a(m.n(x)))), {"b"}),
    "post-norm": (lambda m, x: m.n(x + m.b(F.gelu(m.a(x)))), {"b"}),
    "a product again, in place": (lambda m, x: (y := m.a(x)).mul_(2).add_(m.b(F.relu(y))), {"b"}),
    "the branch first": (lambda m, x: m.b(F.gelu(m.a(x))) + x, {"b"}),
    "added in place": (lambda m, x: m.b(F.gelu(m.a(x))).add_(x), {"b"}),
    "a difference": (lambda m, x: x - m.b(F.gelu(m.a(x))), {"b"}),
    "dropout": (lambda m, x: x + F.dropout(m.b(F.gelu(m.a(x)))), {"b"}),
    "drop path": (lambda m, x: x + m.b(F.gelu(m.a(x))).div(0.9) * torch.ones(2, 1, 1), {"b"}),
    "scaled stream": (lambda m, x: m.n(x * 1.8 + m.b(F.gelu(m.a(x)))), {"b"}),
    "cast stream": (lambda m, x: x.double().float() + m.b(F.gelu(m.a(x))), {"b"}),
    "norm behind": (lambda m, x: x + m.n(m.b(F.gelu(m.a(x)))), {"b", "n"}),
    "activation behind": (lambda m, x: x + F.relu(m.b(x)), {"b"}),
    "gate by an activation": (lambda m, x: x + torch.sigmoid(m.a(x)) * m.b(x), {"b"}),
    "side by side": (lambda m, x: x + m.a(m.n(x)) + m.b(F.gelu(m.c(m.n(x)))), {"a", "b"}),
    "summed first": (lambda m, x: x + (m.a(m.n(x)) + m.b(F.gelu(m.c(m.n(x))))), {"a", "b"}),
    "one after the other": (lambda m, x: (y := x + m.a(x)) + m.b(F.gelu(m.c(y))), {"a", "b"}),
    "projected shortcut": (lambda m, x: m.a(x) + m.b(F.gelu(m.c(x))), {"b"}),
    "two projections": (lambda m, x: m.a(x) + m.b(x), set()),
    "two parts of a signal": (lambda m, x: m.a(x[:, 0]) + m.b(torch.tanh(m.c(x[:, 1]))), set()),
    "concatenation": (lambda m, x: m.c(torch.cat([x[..., :4], m.a(x)[..., 4:]], -1)), set()),
    "polynomial": (lambda m, x: (y := m.a(x)) + 0.1 * y**3, set()),
    "bias": (lambda m, x: m.a(x) + m.b.bias, set()),
    "position": (lambda m, x: m.a(x) + torch.ones(5, 8), set()),
    "highway": (lambda m, x: (g := torch.sigmoid(m.a(x))) * m.b(x) + (1 - g) * x, set()),
    "a direct path with a weight": (lambda m, x: m.n.weight * x + torch.sigmoid(m.a(x)) * m.b(x), set()),
    "scores": (lambda m, x: ((y := m.a(x)) @ m.b(y).transpose(1, 2)) + x[..., :5], set()),
    "attention alone": (lambda m, x: x + (m.a(x) @ m.b(x).transpose(1, 2)).softmax(-1) @ m.c(x), {"c"}),
    "an error": (lambda m, x: (x - m.b(F.gelu(m.a(x)))).pow(2).mean(), set()),
}  # fmt: skip


@pytest.mark.parametrize("kind", SUMS)
def test_what_ends_a_branch(kind):
    function, expected = SUMS[kind]
    assert ends(function, n=nn.LayerNorm(8), **linears("a", "b", "c")) == expected


def roles(model, *inputs):
    graph = trace(model, inputs)
    tensors = dict.fromkeys(use.tensor for use in graph.uses)
    return {name.removesuffix(".weight"): role("parameter", graph.of(name)) for name in tensors if "bias" not in name}


class Scaled(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.a, self.b, self.scale = nn.Linear(8, 8), nn.Linear(8, 8), nn.Parameter(torch.zeros(shape))

    def forward(self, x):
        return x + self.scale * self.b(F.gelu(self.a(x)))


@pytest.mark.parametrize("shape", [(), (1,), (8,)])
def test_a_factor_on_a_branch_is_a_layer_scale(shape):
    assert roles(Scaled(shape), torch.zeros(2, 8)) == {"a": "mlp up", "b": "mlp down", "scale": "layer scale"}


def test_a_factor_elsewhere_is_none():
    model = Around(lambda m, x: m.a(x) * m.scale, a=nn.Linear(8, 8), scale=nn.Parameter(torch.zeros(8)))
    assert roles(model, torch.zeros(2, 8)) == {"a": "head", "scale": "scale"}


class Bottleneck(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.a = nn.Conv2d(inputs, 4, 1, bias=False)
        self.b = nn.Conv2d(4, 4, 3, stride, 1, bias=False)
        self.c = nn.Conv2d(4, outputs, 1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self.short = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))
        self.plain = inputs == outputs and stride == 1

    def forward(self, x):
        y = self.norm(self.c(F.relu(self.b(F.relu(self.a(x))))))
        return F.relu(y + (x if self.plain else self.short(x)))


class ResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3)
        self.layer1 = nn.Sequential(Bottleneck(8, 8, 1), Bottleneck(8, 8, 1))
        self.layer2 = nn.Sequential(Bottleneck(8, 16, 2), Bottleneck(16, 16, 1))
        self.fc = nn.Linear(16, 3)

    def forward(self, x):
        return self.fc(self.layer2(self.layer1(self.stem(x))).mean((2, 3)))


def test_stages_of_a_resnet_are_one_stack():
    places = trace(ResNet(), torch.zeros(2, 3, 16, 16)).places
    blocks = ["layer1.0", "layer1.1", "layer2.0", "layer2.1"]
    ends = {f"{block}.{name}.weight" for block in blocks for name in ("c", "norm")}
    assert {name for name, place in places.items() if place.last} == ends
    for number, block in enumerate(blocks):
        found = places[f"{block}.b.weight"]
        assert (found.stack, found.layer, found.layers) == ("layer", number, 4)
        assert (found.branch, found.branches, found.members) == (number, 4, 3)
    assert places["layer2.0.short.0.weight"].branch is None
    assert [places[f"{block}.c.weight"].width for block in blocks] == [8, 8, 16, 16]
    assert places["stem.weight"] == places["fc.weight"] != places["layer1.0.a.weight"]


class UNetBlock(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.a, self.b = nn.Conv2d(inputs, outputs, 3, padding=1), nn.Conv2d(outputs, outputs, 3, padding=1)
        self.time = nn.Linear(4, outputs)
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x, t):
        h = self.a(F.silu(x)) + self.time(t)[:, :, None, None]
        return self.skip(x) + self.b(F.silu(h))


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down = nn.ModuleList([UNetBlock(4, 4), UNetBlock(4, 8)])
        self.up = nn.ModuleList([UNetBlock(16, 8), UNetBlock(12, 4)])

    def forward(self, x, t):
        kept = []
        for block in self.down:
            x = block(x, t)
            kept.append(x)
        for block in self.up:
            x = block(torch.cat([x, kept.pop()], 1), t)
        return x


def test_a_unet_ends_branches_within_its_blocks_alone():
    places = trace(UNet(), (torch.zeros(2, 4, 8, 8), torch.zeros(2, 4))).places
    ends = {name for name, place in places.items() if place.last}
    assert ends == {f"{side}.{number}.b.weight" for side in ("down", "up") for number in (0, 1)}
    assert places["up.0.a.weight"].stack == "up"


def test_a_recurrence_written_out_has_no_branches():
    def unrolled(m, x):
        state = torch.zeros_like(x[:, 0])
        for step in range(x.shape[1]):
            gate = torch.sigmoid(m.a(x[:, step]) + m.b(state))
            state = (1 - gate) * torch.tanh(m.c(x[:, step])) + gate * state
        return state

    assert ends(unrolled, **linears("a", "b", "c")) == set()


def test_blocks_are_counted_where_nothing_was_followed():
    class Stuck(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList([nn.Linear(3, 3) for _ in range(4)])

        def forward(self, **_):
            raise RuntimeError("no")

    places = trace(Stuck()).places
    assert [(places[f"layers.{n}.weight"].layer, places[f"layers.{n}.weight"].layers) for n in range(4)] == [
        (n, 4) for n in range(4)
    ]


def test_layers_are_counted_in_the_order_of_the_pass():
    layers = nn.ModuleList([Scaled(()) for _ in range(3)])
    model = Around(lambda m, x: m.layers[1](m.layers[0](m.layers[2](x))), layers=layers)
    places = trace(model, torch.zeros(2, 8)).places
    assert [places[f"layers.{number}.a.weight"].layer for number in range(3)] == [1, 2, 0]
