"""Gates of recurrent layers: each block is the gate that it is said to be, with its own fans."""

import math

import pytest
import torch
from torch import nn

from fanin.torch.trace import trace
from fanin.torch.trace.modules import uses_by_type

LAYERS = {
    "lstm": (lambda: nn.LSTM(5, 3), ("input", "forget", "cell", "output")),
    "lstm_cell": (lambda: nn.LSTMCell(5, 3), ("input", "forget", "cell", "output")),
    "gru": (lambda: nn.GRU(5, 3), ("reset", "update", "new")),
    "gru_cell": (lambda: nn.GRUCell(5, 3), ("reset", "update", "new")),
    "rnn_tanh": (lambda: nn.RNN(5, 3), ("",)),
    "rnn_relu": (lambda: nn.RNN(5, 3, nonlinearity="relu"), ("",)),
    "rnn_tanh_cell": (lambda: nn.RNNCell(5, 3), ("",)),
    "rnn_relu_cell": (lambda: nn.RNNCell(5, 3, nonlinearity="relu"), ("",)),
}
SIGMOID = ("input", "forget", "output", "reset", "update")


@pytest.mark.parametrize("op", LAYERS)
def test_every_weight_and_bias_is_told_gate_by_gate(op):
    make, gates = LAYERS[op]
    layer = make()
    graph = trace(layer, torch.zeros(4, 2, 5) if "cell" not in op else torch.zeros(2, 5))
    for name, parameter in layer.named_parameters():
        uses = graph.of(name)
        assert [use.gate for use in uses] == list(gates)
        starts = [use.parts[0].start[0] if use.parts else 0 for use in uses]
        assert starts == [3 * place for place in range(len(gates))]
        if parameter.dim() == 1:
            assert {(use.op, use.partner, use.axes) for use in uses} == {("bias", name.replace("bias", "weight"), None)}
            continue
        role = "recurrent input" if "_ih" in name else "recurrent hidden"
        assert {(use.op, use.role, use.axes.fans) for use in uses} == {(op, role, (parameter.shape[1], 3))}
        follows = {"": op.split("_")[1] if op.startswith("rnn") else ""} | dict.fromkeys(SIGMOID, "sigmoid")
        assert [use.activation for use in uses] == [follows.get(gate, "tanh") for gate in gates]


@pytest.mark.parametrize("options", [{}, {"bias": False}, {"proj_size": 2}, {"proj_size": 2, "bias": False}])
def test_layers_directions_and_projections(options):
    layer = nn.LSTM(5, 3, 2, bidirectional=True, **options)
    graph = trace(layer, torch.zeros(4, 2, 5))
    out = 2 * options.get("proj_size", 3)
    for name, parameter in layer.named_parameters():
        uses = graph.of(name)
        if name.startswith("weight_hr"):
            assert [(use.op, use.role, use.axes.fans, use.parts) for use in uses] == [
                ("linear", "projection", (3, 2), ())
            ]
        elif name.startswith("weight_ih"):
            assert [use.axes.fans for use in uses] == [(out if "l1" in name else 5, 3)] * 4
        elif name.startswith("weight_hh"):
            assert [use.axes.fans for use in uses] == [(parameter.shape[1], 3)] * 4
        else:
            assert {use.partner for use in uses} == {name.replace("bias", "weight")}
    assert graph.unreached == ()


@pytest.mark.parametrize("op", LAYERS)
def test_module_classes_tell_the_same(op):
    layer = LAYERS[op][0]()
    traced = trace(layer, torch.zeros(4, 2, 5) if "cell" not in op else torch.zeros(2, 5)).uses
    assert set(uses_by_type(layer)) == set(traced)


def test_the_class_of_attention_tells_its_blocks():
    layer = nn.MultiheadAttention(16, 4)
    x = torch.zeros(5, 2, 16)
    traced = [(use.tensor, use.parts, use.axes, use.partner) for use in trace(layer, (x, x + 1, x + 2)).uses]
    told = [(use.tensor, use.parts, use.axes, use.partner) for use in uses_by_type(layer)]
    packed = [each for each in told if each[0].startswith("in_proj")]
    assert sorted(packed, key=str) == sorted((each for each in traced if each[0].startswith("in_proj")), key=str)
    apart = list(uses_by_type(nn.MultiheadAttention(16, 4, kdim=8, vdim=8)))
    assert [use.partner for use in apart if use.tensor == "in_proj_bias"] == [f"{x}_proj_weight" for x in "qkv"]


def state(layer, **biases):
    """The next state of a cell with zero weights and these biases of gates, from a state of 1/2."""
    graph = trace(layer, torch.zeros(2, 5))
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
        for use in graph.uses:
            side = "hidden_" if use.tensor == "bias_hh" else ""
            if use.op == "bias" and side + use.gate in biases:
                start, size = use.parts[0].start[0], use.parts[0].size[0]
                layer.get_parameter(use.tensor)[start : start + size] = biases[side + use.gate]
        half = torch.full((2, 3), 0.5)
        result = layer(torch.zeros(2, 5), (half, half) if isinstance(layer, nn.LSTMCell) else half)
    return [float(each[0, 0]) for each in result] if isinstance(result, tuple) else float(result[0, 0])


@pytest.mark.parametrize(
    ("biases", "cell"),
    [
        ({"forget": 30.0}, 0.5),
        ({"forget": -30.0}, 0.0),
        ({"forget": 30.0, "cell": 30.0}, 1.0),
        ({"forget": 30.0, "cell": 30.0, "input": -30.0}, 0.5),
        ({"forget": -30.0, "cell": 30.0, "input": 30.0}, 1.0),
    ],
)
def test_gates_of_an_lstm_do_what_they_are_called(biases, cell):
    hidden, found = state(nn.LSTMCell(5, 3), **biases)
    assert found == pytest.approx(cell, abs=1e-6)
    assert hidden == pytest.approx(math.tanh(cell) / 2, abs=1e-6)
    assert state(nn.LSTMCell(5, 3), **biases, output=30.0)[0] == pytest.approx(math.tanh(cell), abs=1e-6)


@pytest.mark.parametrize(
    ("biases", "expected"),
    [
        ({"update": 30.0}, 0.5),
        ({"update": -30.0}, 0.0),
        ({"update": -30.0, "new": 30.0}, 1.0),
        ({"update": -30.0, "hidden_new": 30.0, "reset": 30.0}, 1.0),
        ({"update": -30.0, "hidden_new": 30.0, "reset": -30.0}, 0.0),
    ],
)
def test_gates_of_a_gru_do_what_they_are_called(biases, expected):
    assert state(nn.GRUCell(5, 3), **biases) == pytest.approx(expected, abs=1e-6)
