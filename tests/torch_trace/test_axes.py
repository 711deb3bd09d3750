"""Axes come from the operation; their fans equal what the real layer does to ones."""

import pytest
import torch
from torch import nn

from fanin.torch.trace import trace
from fanin.torch.trace.modules import uses_by_type


def _conv1d(n_in: int, n_out: int) -> nn.Module:
    from transformers.pytorch_utils import Conv1D

    return Conv1D(n_out, n_in)


# layer, input shape, index of an interior output
LAYERS = {
    "linear": (lambda: nn.Linear(7, 5, bias=False), (2, 7), (0, 0)),
    "linear to one": (lambda: nn.Linear(7, 1, bias=False), (2, 7), (0, 0)),
    "linear from one": (lambda: nn.Linear(1, 5, bias=False), (2, 1), (0, 0)),
    "linear on sequences": (lambda: nn.Linear(7, 5), (2, 3, 7), (0, 0, 0)),
    "stored [in, out]": (lambda: _conv1d(7, 5), (2, 3, 7), (0, 0, 0)),
    "stored [in, out], square": (lambda: _conv1d(6, 6), (2, 3, 6), (0, 0, 0)),
    "conv1d": (lambda: nn.Conv1d(4, 6, 3, padding=1), (2, 4, 9), (0, 0, 4)),
    "conv2d": (lambda: nn.Conv2d(4, 6, 3, bias=False), (2, 4, 9, 9), (0, 0, 3, 3)),
    "conv3d": (lambda: nn.Conv3d(2, 3, (3, 2, 1)), (2, 2, 5, 5, 5), (0, 0, 1, 1, 1)),
    "grouped": (lambda: nn.Conv2d(8, 12, 3, groups=4), (2, 8, 9, 9), (0, 0, 3, 3)),
    "depthwise": (lambda: nn.Conv2d(8, 8, 3, groups=8), (2, 8, 9, 9), (0, 0, 3, 3)),
    "depthwise, widening": (lambda: nn.Conv1d(4, 12, 3, groups=4), (2, 4, 9), (0, 0, 3)),
    "dilated": (lambda: nn.Conv2d(4, 6, 3, dilation=2), (2, 4, 11, 11), (0, 0, 3, 3)),
    "pointwise": (lambda: nn.Conv2d(4, 6, 1), (2, 4, 5, 5), (0, 0, 2, 2)),
    "one channel": (lambda: nn.Conv2d(1, 1, 3), (2, 1, 9, 9), (0, 0, 3, 3)),
    "transposed": (lambda: nn.ConvTranspose2d(8, 6, 3), (2, 8, 9, 9), (0, 0, 5, 5)),
    "transposed, strided": (lambda: nn.ConvTranspose2d(8, 6, 4, stride=2), (2, 8, 9, 9), (0, 0, 8, 8)),
    "transposed, uneven stride": (lambda: nn.ConvTranspose2d(8, 6, (4, 6), stride=(2, 3)), (2, 8, 9, 9), (0, 0, 8, 9)),
    "transposed, grouped": (lambda: nn.ConvTranspose1d(8, 12, 4, stride=2, groups=4), (2, 8, 9), (0, 0, 8)),
    "transposed, depthwise": (lambda: nn.ConvTranspose1d(8, 8, 4, stride=2, groups=8), (2, 8, 9), (0, 0, 8)),
    "transposed 3d": (lambda: nn.ConvTranspose3d(2, 3, 2, stride=2), (2, 2, 4, 4, 4), (0, 0, 3, 3, 3)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_fans_are_what_the_layer_does_to_ones(name):
    make, shape, interior = LAYERS[name]
    layer = make()
    graph = trace(layer, torch.zeros(shape))
    (use,) = [use for use in graph.uses if use.tensor == "weight"]
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.fill_(float(parameter.dim() > 1))
    ones = torch.ones(shape, requires_grad=True)
    out = layer(ones)
    assert use.axes.fan_in == out[interior].item()
    out.sum().backward()
    centre = tuple(0 if axis < 2 else size // 2 for axis, size in enumerate(shape))
    assert use.axes.fan_out == ones.grad[centre].item()
    assert graph.unreached == ()


@pytest.mark.parametrize("name", LAYERS)
def test_module_classes_tell_the_same_axes(name):
    make, shape, _ = LAYERS[name]
    layer = make()
    traced = {use.tensor: use for use in trace(layer, torch.zeros(shape)).uses}
    told = {use.tensor: use for use in uses_by_type(layer)}
    assert {name: (use.op, use.axes) for name, use in told.items()} == {
        name: (use.op, use.axes) for name, use in traced.items()
    }


def test_stride_of_a_convolution_is_in_its_axes():
    axes = trace(nn.Conv2d(3, 4, 3, stride=(2, 3))).of("weight")[0].axes
    assert (axes.stride, axes.groups, axes.transposed) == (6, 1, False)


class Products(nn.Module):
    """The same contraction written in many ways, from weights stored in many ways."""

    def __init__(self, way):
        super().__init__()
        self.way = way
        shape = {"experts": (4, 5, 7), "heads": (7, 2, 3), "stacked": (2, 5, 7), "vector": (7,)}.get(way.split()[0])
        self.weight = nn.Parameter(torch.zeros(shape or ((5, 7) if "[out, in]" in way else (7, 5))))

    def forward(self, x):
        w = self.weight
        match self.way:
            case "[in, out] @":
                return x @ w
            case "[in, out] einsum":
                return torch.einsum("bi,io->bo", x, w)
            case "[out, in] left":
                return (w @ x.T).T
            case "[out, in] cast":
                return x.double() @ w.double().T
            case "[out, in] scaled":
                return x @ (2 * w + 1).T.contiguous()
            case "[out, in] sliced":
                return x[:, :4] @ w[:, 2:6].T
            case "[out, in] addmm":
                return torch.addmm(torch.zeros(5), x, w.t())
            case "[out, in] halves":
                return torch.cat([x @ half.T for half in w.view(5, 7).split((2, 3))], -1)
            case "experts bmm":
                return torch.bmm(x.expand(4, *x.shape), w.transpose(1, 2))
            case "experts baddbmm":
                return torch.baddbmm(torch.zeros(4, 1, 5), x.expand(4, *x.shape), w.mT)
            case "experts matmul":
                return x @ w.mT
            case "experts einsum":
                return torch.einsum("bi,eoi->ebo", x, w)
            case "experts grouped":
                ends = torch.tensor([1, 1, 2, 3], dtype=torch.int32)
                return torch._grouped_mm(x, w.transpose(1, 2), ends)
            case "experts one by one":
                return torch.stack([x @ each.T for each in w])
            case "heads apart":
                return torch.einsum("bi,ihk->hbk", x, w)
            case "[in, out] repeated":
                return torch.bmm(x.expand(2, *x.shape), w.expand(2, *w.shape))
            case "[out, in] vector":
                return w @ x[0]
            case "[out, in] left of a batch":
                return w @ x.T.expand(2, 7, 3)
            case "experts picked":
                return torch.bmm(x.expand(2, *x.shape), w[torch.tensor([0, 2])].transpose(1, 2))
            case "experts selected":
                return x @ w[2].T
            case "heads einsum":
                return torch.einsum("bi,ihk->bhk", x, w)
            case "heads flat":
                return x @ w.reshape(7, 6)
            case "stacked merged":
                return x @ w.reshape(10, 7).T
            case "vector dot":
                return x @ w


@pytest.mark.parametrize(
    ("way", "inputs", "outputs", "batch"),
    [
        ("[in, out] @", (0,), (1,), ()),
        ("[in, out] einsum", (0,), (1,), ()),
        ("[out, in] left", (1,), (0,), ()),
        ("[out, in] cast", (1,), (0,), ()),
        ("[out, in] scaled", (1,), (0,), ()),
        ("[out, in] sliced", (1,), (0,), ()),
        ("[out, in] addmm", (1,), (0,), ()),
        ("[out, in] halves", (1,), (0,), ()),
        ("experts bmm", (2,), (1,), (0,)),
        ("experts baddbmm", (2,), (1,), (0,)),
        ("experts matmul", (2,), (1,), (0,)),
        ("experts grouped", (2,), (1,), (0,)),
        ("experts einsum", (2,), (0, 1), ()),
        ("experts one by one", (2,), (1,), (0,)),
        ("heads apart", (0,), (1, 2), ()),
        ("[in, out] repeated", (0,), (1,), ()),
        ("[out, in] vector", (1,), (0,), ()),
        ("[out, in] left of a batch", (1,), (0,), ()),
        ("experts picked", (2,), (1,), (0,)),
        ("experts selected", (2,), (1,), (0,)),
        ("heads einsum", (0,), (1, 2), ()),
        ("heads flat", (0,), (1, 2), ()),
        ("stacked merged", (2,), (0, 1), ()),
        ("vector dot", (0,), (), ()),
    ],
)
def test_axes_through_views(way, inputs, outputs, batch):
    uses = trace(Products(way), torch.zeros(3, 7)).of("weight")
    assert {(use.op, use.axes.inputs, use.axes.outputs, use.axes.batch) for use in uses} == {
        ("linear", inputs, outputs, batch)
    }


class Joined(nn.Module):
    """Several parameters put together before they are multiplied with anything."""

    def __init__(self, way):
        super().__init__()
        self.way = way
        self.first, self.second = nn.Parameter(torch.zeros(5, 7)), nn.Parameter(torch.zeros(3, 7))
        self.shift, self.other_shift = nn.Parameter(torch.zeros(5)), nn.Parameter(torch.zeros(3))
        if way in ("inputs", "stacked"):
            self.second = nn.Parameter(torch.zeros(5, 4 if way == "inputs" else 7))

    def forward(self, x):
        match self.way:
            case "outputs":
                shift = torch.cat([self.shift, self.other_shift])
                return nn.functional.linear(x, torch.cat([self.first, self.second]), shift)
            case "outputs, added":
                return x @ torch.cat([self.first, self.second]).t() + torch.cat([self.shift, self.other_shift])
            case "with zeros between":
                shift = torch.cat([self.shift, torch.zeros(2), self.other_shift])
                weight = torch.cat([self.first, torch.zeros(2, 7), self.second])
                return nn.functional.linear(x, weight, shift)
            case "inputs":
                return torch.cat([x, x[:, :4]], 1) @ torch.cat([self.first, self.second], 1).t()
            case "stacked":
                return torch.bmm(x.expand(2, 3, 7), torch.stack([self.first, self.second]).transpose(1, 2))


@pytest.mark.parametrize("way", ["outputs", "outputs, added", "with zeros between", "inputs", "stacked"])
def test_parameters_put_together_keep_their_own_axes(way):
    model = Joined(way)
    graph = trace(model, torch.zeros(3, 7))
    for name in ("first", "second"):
        (use,) = graph.of(name)
        rows, columns = getattr(model, name).shape
        assert (use.op, use.parts, use.axes.fans, use.axes.inputs) == ("linear", (), (columns, rows), (1,))
    partners = {use.tensor: (use.op, use.partner, use.parts) for use in graph.uses if use.tensor.endswith("shift")}
    biased = {"shift": ("bias", "first", ()), "other_shift": ("bias", "second", ())}
    assert partners == ({} if way in ("inputs", "stacked") else biased)


def test_parameters_put_together_and_split_again():
    class Packed(nn.Module):
        def __init__(self):
            super().__init__()
            self.queries, self.others = nn.Parameter(torch.zeros(4, 6)), nn.Parameter(torch.zeros(8, 6))

        def forward(self, x):
            queries, keys, values = nn.functional.linear(x, torch.cat([self.queries, self.others])).chunk(3, -1)
            return (queries @ keys.T).softmax(-1) @ values

    graph = trace(Packed(), torch.zeros(3, 6))
    assert [use.parts for use in graph.of("queries")] == [()]
    assert [use.parts[0].start for use in graph.of("others")] == [(0, 0), (4, 0)]
    assert {use.axes.fans for use in graph.uses} == {(6, 4)}


class Torn(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(6, 5))

    def forward(self, x):
        return torch.bmm(x.expand(2, 3, 3), self.weight.view(2, 3, 5)), x @ self.weight.view(3, 10)


def test_a_dimension_that_is_half_summed_has_no_fan_and_a_note():
    graph = trace(Torn(), torch.zeros(3, 3))
    uses = graph.of("weight")
    assert uses[1].axes is None
    assert graph.notes == ("weight: one of its dimensions is summed in part and free in part, so it has no single fan",)


@pytest.mark.parametrize(
    ("layer", "op"),
    [
        (nn.LSTM(4, 3), "lstm"),
        (nn.GRU(4, 3), "gru"),
        (nn.RNN(4, 3), "rnn_tanh"),
        (nn.RNN(4, 3, nonlinearity="relu"), "rnn_relu"),
        (nn.LSTMCell(4, 3), "lstm_cell"),
        (nn.GRUCell(4, 3), "gru_cell"),
    ],
)
def test_recurrent_layers_have_their_own_names(layer, op):
    graph = trace(layer)
    matrices = [use for use in graph.uses if use.axes]
    assert {use.op for use in matrices} == {op}
    assert {use.axes.fan_in for use in matrices} == {3, 4}
    assert {use.op for use in graph.uses if not use.axes} == {"bias"}


@pytest.mark.parametrize(
    "norm",
    [nn.BatchNorm2d(4), nn.GroupNorm(2, 4), nn.InstanceNorm2d(4, affine=True), nn.LayerNorm((4, 6, 6)), nn.RMSNorm(6)],
    ids=lambda norm: type(norm).__name__,
)
def test_norms(norm):
    graph = trace(nn.Sequential(nn.Conv2d(3, 4, 1), norm, nn.ReLU()), torch.zeros(2, 3, 6, 6))
    assert [(use.tensor, use.op) for use in graph.uses if use.module == "1"] == [
        ("1.weight", "norm_scale"),
        ("1.bias", "norm_shift"),
    ][: len(list(norm.parameters()))]
    assert graph.of("0.weight")[0].activation == "relu"


class HandWrittenNorm(nn.Module):
    def __init__(self, how):
        super().__init__()
        self.how = how
        self.scale, self.shift = nn.Parameter(torch.ones(6)), nn.Parameter(torch.zeros(6))

    def forward(self, x):
        match self.how:
            case "rms":
                return self.scale * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)) + self.shift
            case "layer":
                centred = x - x.mean(-1, keepdim=True)
                return centred / (x.var(-1, keepdim=True) + 1e-6).sqrt() * self.scale + self.shift
            case "stored less one":
                return (x * torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True))).to(x.dtype) * (1 + self.scale)
            case "layer scale":
                return x * self.scale + self.shift


@pytest.mark.parametrize(
    ("how", "ops"),
    [
        ("rms", [("scale", "norm_scale", None), ("shift", "norm_shift", None)]),
        ("layer", [("scale", "norm_scale", None), ("shift", "norm_shift", None)]),
        ("stored less one", [("scale", "norm_scale", 1.0), ("shift", "", None)]),
        ("layer scale", [("scale", "scale", None), ("shift", "norm_shift", None)]),
    ],
)
def test_norms_written_by_hand(how, ops):
    graph = trace(HandWrittenNorm(how), torch.zeros(2, 6))
    assert [(use.tensor, use.op, use.parameter) for use in graph.uses] == [each for each in ops if each[1]]


def test_weight_norm_keeps_the_axes_of_the_direction():
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(7, 5))
    uses = {use.tensor: use for use in trace(layer).uses}
    assert uses["parametrizations.weight.original1"].axes.fans == (7, 5)
    assert uses["parametrizations.weight.original0"].op == "_weight_norm_interface"


def test_tied_weights_are_one_tensor_with_two_uses():
    embedding, head = nn.Embedding(10, 4), nn.Linear(4, 10, bias=False)
    head.weight = embedding.weight
    uses = trace(nn.Sequential(embedding, head)).uses
    assert [(use.tensor, use.op, use.module) for use in uses] == [
        ("0.weight", "embedding", "0"),
        ("0.weight", "linear", "1"),
    ]


def test_a_layer_that_runs_twice_is_used_once_per_way():
    layer = nn.Linear(4, 4)
    graph = trace(nn.Sequential(layer, nn.ReLU(), layer))
    assert [(use.op, use.activation) for use in graph.of("0.weight")] == [("linear", "relu"), ("linear", "linear")]


class Tables(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.zeros(10, 4))
        self.positions = nn.Parameter(torch.zeros(1, 3, 4))
        self.token = nn.Parameter(torch.zeros(1, 1, 4))
        self.gate = nn.Parameter(torch.zeros(4))

    def forward(self, ids):
        x = self.table[ids] + self.positions
        return torch.cat([self.token.expand(len(x), -1, -1), x], 1) * self.gate


def test_tables_positions_tokens_and_scales():
    uses = trace(Tables(), torch.tensor([[1, 2, 3]])).uses
    assert [(use.tensor, use.op) for use in uses] == [
        ("table", "embedding"),
        ("positions", "position"),
        ("token", "cat"),
        ("gate", "scale"),
    ]
