"""The nonlinearity that follows a weight is found, fused or composed, through whatever stands between."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fanin.gains import activation_names
from fanin.torch.trace import trace
from fanin.torch.trace.activations import _FUNCTIONS, GRID, is_affine, recognise


class Between(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.a, self.b, self.function = nn.Linear(4, 6), nn.Linear(6, 2), function

    def forward(self, x):
        return self.b(self.function(self.a(x)))


def following(function):
    graph = trace(Between(function), torch.zeros(5, 4))
    use = graph.of("a.weight")[-1]  # of a gated linear unit the gate
    (last,) = graph.of("b.weight")
    assert (last.activation, last.parameter) == ("linear", None)
    return use.activation, use.parameter


MODULES = [
    (nn.ReLU(), "relu", None),
    (nn.ReLU(inplace=True), "relu", None),
    (nn.ReLU6(), "relu6", None),
    (nn.LeakyReLU(), "leaky_relu", 0.01),
    (nn.LeakyReLU(0.2, inplace=True), "leaky_relu", 0.2),
    (nn.PReLU(), "prelu", None),
    (nn.RReLU(), "leaky_relu", pytest.approx((1 / 8 + 1 / 3) / 2)),
    (nn.ELU(), "elu", None),
    (nn.ELU(0.5), "elu", 0.5),
    (nn.CELU(0.7), "celu", 0.7),
    (nn.SELU(), "selu", None),
    (nn.GELU(), "gelu", None),
    (nn.GELU("tanh"), "gelu_tanh", None),
    (nn.SiLU(inplace=True), "silu", None),
    (nn.Mish(), "mish", None),
    (nn.Tanh(), "tanh", None),
    (nn.Sigmoid(), "sigmoid", None),
    (nn.LogSigmoid(), "logsigmoid", None),
    (nn.Softplus(), "softplus", None),
    (nn.Softplus(2.0), "softplus", 2.0),
    (nn.Softsign(), "softsign", None),
    (nn.Tanhshrink(), "tanhshrink", None),
    (nn.Hardtanh(), "hardtanh", None),
    (nn.Hardswish(), "hardswish", None),
    (nn.Hardswish(inplace=True), "hardswish", None),
    (nn.Hardsigmoid(), "hardsigmoid", None),
    (nn.Threshold(0.0, 0.0), "relu", None),
    (nn.Identity(), "linear", None),
]


@pytest.mark.parametrize(("module", "name", "parameter"), MODULES, ids=lambda value: str(value).split("(")[0])
def test_modules(module, name, parameter):
    assert following(module) == (name, parameter)


COMPOSED = {
    "relu by clamp": (lambda x: x.clamp(min=0), "relu", None),
    "relu by maximum": (lambda x: torch.maximum(x, torch.zeros(())), "relu", None),
    "leaky relu by where": (lambda x: torch.where(x > 0, x, 0.1 * x), "leaky_relu", 0.1),
    "gelu by erf": (lambda x: 0.5 * x * (1 + torch.erf(x / 2**0.5)), "gelu", None),
    "gelu by tanh": (
        lambda x: 0.5 * x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x.pow(3)))),
        "gelu_tanh",
        None,
    ),
    "silu": (lambda x: x * torch.sigmoid(x), "silu", None),
    "quick gelu": (lambda x: x * torch.sigmoid(1.702 * x), "quick_gelu", None),
    "mish": (lambda x: x * torch.tanh(F.softplus(x)), "mish", None),
    "squared relu": (lambda x: F.relu(x) ** 2, "relu_squared", None),
    "sine": (torch.sin, "sin", None),
    "siren": (lambda x: torch.sin(30 * x), "sin", 30.0),
    "scaled relu": (lambda x: 3 * F.relu(x), "relu", None),
    "GLU": (lambda x: F.glu(x).repeat(1, 2), "sigmoid", None),
    "GLU by halves": (lambda x: (x[:, :3] * torch.sigmoid(x[:, 3:])).repeat(1, 2), "sigmoid", None),
    "softmax": (lambda x: x.softmax(-1), "linear", None),
    "a number": (lambda x: 3 * x + 1, "linear", None),
    "one times": (lambda x: x * 1.0 + 0.0, "linear", None),
}


@pytest.mark.parametrize("name", COMPOSED)
def test_composed(name):
    function, expected, parameter = COMPOSED[name]
    assert following(function) == (expected, parameter)


THROUGH = {
    "views": lambda x: F.relu(x.reshape(-1, 2, 3).transpose(1, 2)).transpose(1, 2).reshape(-1, 6),
    "copies": lambda x: F.relu(x.t().contiguous().clone()).t(),
    "casts": lambda x: F.relu(x.to(torch.bfloat16)).float(),
    "dropout": lambda x: F.relu(F.dropout(x)),
    "pooling": lambda x: F.relu(F.max_pool1d(x, 3, 1, 1)),
    "averaging": lambda x: F.relu(F.avg_pool2d(x[:, None, None], 1))[:, 0, 0],
    "batch norm": nn.Sequential(nn.BatchNorm1d(6), nn.ReLU()),
    "layer norm": nn.Sequential(nn.LayerNorm(6), nn.Dropout(), nn.ReLU()),
    "rms norm": nn.Sequential(nn.RMSNorm(6), nn.ReLU()),
    "padding": lambda x: F.relu(F.pad(x, (1, 1)))[:, 1:-1],
    "after dropout": lambda x: F.dropout(F.relu(x)),
}


@pytest.mark.parametrize("way", THROUGH)
def test_followed_through(way):
    assert following(THROUGH[way]) == ("relu", None)


def test_convolutions_are_followed_through_pool_and_norm():
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.MaxPool2d(2), nn.BatchNorm2d(4), nn.SELU(True), nn.Conv2d(4, 4, 3))
    uses = trace(model, torch.zeros(2, 1, 12, 12))
    assert [uses.of(name)[0].activation for name in ("0.weight", "4.weight")] == ["selu", "linear"]


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        return F.relu(x + self.b(torch.tanh(self.a(x))))


def test_an_add_ends_the_search():
    graph = trace(Residual())
    assert [use.activation for use in graph.uses if use.op == "linear"] == ["tanh", "linear"]


def reused(x):
    buffer = x.new_zeros(x.shape)
    before = torch.tanh(buffer)
    return buffer.copy_(x), before


def test_what_happened_to_the_memory_before_does_not_count():
    assert following(lambda x: reused(x)[0]) == ("linear", None)
    assert following(lambda x: F.relu(reused(x)[0])) == ("relu", None)


class Gated(nn.Module):
    def __init__(self):
        super().__init__()
        self.gate, self.up, self.down = nn.Linear(4, 8), nn.Linear(4, 8), nn.Linear(8, 4)

    def forward(self, x):
        return self.down(F.silu(self.gate(x)) * self.up(x))


def test_gate_and_up_are_told_apart():
    graph = trace(Gated())
    assert [graph.of(f"{name}.weight")[0].activation for name in ("gate", "up", "down")] == ["silu", "linear", "linear"]


def test_an_unknown_nonlinearity_is_said():
    graph = trace(Between(lambda x: x**3), torch.zeros(5, 4))
    assert graph.of("a.weight")[0].activation == ""
    assert graph.notes == ("a.weight: an unknown nonlinearity follows",)


class Learned(nn.Module):
    """x² times a parameter."""

    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return torch.where(x > 0, self.factor * x * x, 0.5 * x)


def test_a_nonlinearity_with_parameters_is_unknown_for_a_reason():
    graph = trace(nn.Sequential(nn.Linear(4, 4), Learned(), nn.Linear(4, 4)), torch.zeros(5, 4))
    why = "an unknown nonlinearity follows, with parameters in it (1.factor): what it does depends on their values"
    assert graph.notes == (f"0.weight: {why}",)


def test_the_scale_of_a_composed_norm_is_no_part_of_a_nonlinearity():
    class Norm(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(4))

        def forward(self, x):
            return (x * x.pow(2).mean(-1, keepdim=True).rsqrt() * self.scale) ** 3

    graph = trace(nn.Sequential(nn.Linear(4, 4), Norm(), nn.Linear(4, 4)), torch.zeros(5, 4))
    assert graph.notes == ("0.weight: an unknown nonlinearity follows",)


LIMITED = {
    "far, in front": (lambda x: F.silu(x.clamp(max=7)), ("silu", None)),
    "far, behind": (lambda x: F.gelu(x).clamp(-7, 7), ("gelu", None)),
    "GPT-OSS's gate": (lambda x: (y := x.clamp(max=7.0)) * torch.sigmoid(1.702 * y), ("quick_gelu", None)),
    "far, of a line": (lambda x: x.clamp(-7, 7) + 1, ("linear", None)),
    "far, of a family": (lambda x: F.leaky_relu(x, 0.3).clamp(max=6), ("leaky_relu", 0.3)),
    "near": (lambda x: F.silu(x.clamp(max=4)), ("", None)),
    "near, of a line": (lambda x: x.clamp(-4, 4), ("", None)),
    "ReLU6": (lambda x: x.clamp(0, 6), ("relu6", None)),
}


@pytest.mark.parametrize("kind", LIMITED)
def test_limits_beyond_five_deviations_do_not_hide_a_nonlinearity(kind):
    function, expected = LIMITED[kind]
    assert following(function) == expected


def test_every_name_given_has_a_gain():
    assert set(_FUNCTIONS) | {"prelu", "leaky_relu", "celu"} <= set(activation_names())


def test_lines_are_affine_and_curves_are_not():
    assert is_affine(3 * GRID + 1)
    assert not is_affine(GRID**2)
    assert recognise(GRID) is None
