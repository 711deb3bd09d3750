"""Recipes for recurrent layers, through torch's own: per-gate matrices, biases counted once, time scales."""

from math import sqrt

import pytest
import torch
from torch import nn

from fanin.errors import ArgumentError
from fanin.recipes import named
from fanin.torch.planning import initialize, plan

IN, H = 24, 40
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def drawn(make, recipe, inputs=None, seed=0):
    model = make()
    initialize(model, recipe, inputs, seed)
    return {name: tensor.detach() for name, tensor in model.named_parameters()}, model


def layers(kind, **options):
    return lambda: getattr(nn, kind)(IN, H, **options)


def blocks(tensor):
    return tensor.split(H)


def is_orthogonal(matrix):
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    return torch.allclose(wide @ wide.T, torch.eye(len(wide)), atol=1e-5)


@pytest.mark.parametrize("kind", GATES)
def test_every_gate_of_the_state_is_orthogonal(kind):
    values, _ = drawn(layers(kind, num_layers=2, bidirectional=True), "lstm")
    for name in ("weight_hh_l0", "weight_hh_l0_reverse", "weight_hh_l1"):
        gates = blocks(values[name])
        assert len(gates) == GATES[kind]
        assert all(is_orthogonal(gate) for gate in gates)
        # matrices of different gates are different draws, and the stack of all is no orthogonal [4H, H]
        assert len(gates) == 1 or not torch.allclose(gates[0], gates[1], atol=0.1)
        assert torch.allclose(values[name].T @ values[name], len(gates) * torch.eye(H), atol=1e-4)


def test_every_gate_of_the_input_has_its_own_fans():
    values, _ = drawn(layers("LSTM", num_layers=2, bidirectional=True), "lstm")
    for name, n_in in (("weight_ih_l0", IN), ("weight_ih_l1_reverse", 2 * H)):
        bound = sqrt(6 / (n_in + H))
        for gate in blocks(values[name]):
            assert gate.abs().max() <= bound
            assert abs(gate.std().item() / bound * sqrt(3) - 1) < 5 * 0.4472 / sqrt(gate.numel())


@pytest.mark.parametrize("options", [{}, {"num_layers": 2}, {"bidirectional": True}, {"proj_size": 16}])
def test_the_forget_gate_starts_open_once(options):
    values, _ = drawn(layers("LSTM", **options), "lstm")
    for name in (name for name in values if name.startswith("bias_ih")):
        both = values[name] + values[name.replace("ih", "hh")]
        assert [gate.unique().tolist() for gate in blocks(both)] == [[0.0], [1.0], [0.0], [0.0]]


@pytest.mark.parametrize("cell", [nn.LSTMCell, nn.GRUCell, nn.RNNCell])
def test_cells_are_drawn_like_layers(cell):
    values, _ = drawn(lambda: cell(IN, H), "lstm")
    assert all(is_orthogonal(gate) for gate in blocks(values["weight_hh"]))
    ones = (values["bias_ih"] + values["bias_hh"]).tolist()
    assert ones == ([0.0] * H + [1.0] * H + [0.0] * 2 * H if cell is nn.LSTMCell else [0.0] * len(ones))


@pytest.mark.parametrize("kind", ["GRU", "RNN"])
def test_other_recurrent_biases_start_at_0(kind):
    values, _ = drawn(layers(kind), "lstm")
    assert not values["bias_ih_l0"].any()
    assert not values["bias_hh_l0"].any()


def test_weights_around_the_layer_keep_their_authors_law():
    model = nn.Sequential(nn.Linear(IN, IN), nn.ReLU(), nn.Linear(IN, 4))
    for recipe in ("lstm", "irnn", "chrono"):
        assert all(f"{recipe} has no rule" in step.why for step in plan(model, recipe).values())


@pytest.mark.parametrize("alpha", [1.0, 0.01])
def test_irnn_keeps_its_state_without_input(alpha):
    values, model = drawn(layers("RNN", nonlinearity="relu"), f"irnn,alpha={alpha}")
    state = torch.rand(1, 2, H)
    _, after = model(torch.zeros(3, 2, IN), state)
    assert torch.equal(after, state) if alpha == 1 else torch.allclose(after, alpha**3 * state)
    inputs = values["weight_ih_l0"]
    assert abs(inputs.std().item() / 0.001 - 1) < 5 / sqrt(2 * inputs.numel())


def test_irnn_is_for_cells_of_rectified_units():
    steps = plan(layers("RNN")(), "irnn")
    assert "irnn has no rule" in steps["weight_hh_l0"].why
    assert "irnn has no rule" in steps["weight_ih_l0"].why


T = 100


def time_scale_error(units):
    """5 standard errors of a mean of 1 + u, u uniform on [1, T − 1]."""
    return 5 * (T - 2) / sqrt(12 * units)


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}])
def test_chrono_scales_of_lstm_cells(options):
    units = 400
    values, _ = drawn(lambda: nn.LSTM(1, units, **options), f"chrono,t_max={T}", seed=1)
    for name in (name for name in values if name.startswith("bias_ih")):
        both = values[name] + values[name.replace("ih", "hh")]
        enter, forget, cell, out = both.double().split(units)
        scales = 1 / (1 - torch.sigmoid(forget))
        # METHODS §4, defect 16: filling both biases gives 2491 in place of 51
        assert abs(scales.mean().item() - (1 + T / 2)) < time_scale_error(units)
        assert 2 <= scales.min() < 4
        assert T - 2 < scales.max() <= T + 1e-3
        assert torch.equal(enter, -forget)
        assert not cell.any()
        assert not out.any()


def test_chrono_scales_as_states_decay():
    units = 600
    for kind, state in (("LSTM", torch.zeros(1, 1, units)), ("GRU", torch.ones(1, 1, units))):
        model = getattr(nn, kind)(1, units)
        initialize(model, f"chrono,t_max={T}", seed=2)
        with torch.no_grad():
            for name, tensor in model.named_parameters():
                if name.startswith("weight"):
                    tensor.zero_()
            if kind == "LSTM":
                _, (_, after) = model(torch.zeros(1, 1, 1), (state, torch.ones(1, 1, units)))
            else:
                _, after = model(torch.zeros(1, 1, 1), state)
        # without input a state s becomes s·(1 − 1/scale) in one step
        scales = 1 / (1 - after.double())
        assert abs(scales.mean().item() - (1 + T / 2)) < time_scale_error(units)
        assert scales.min() >= 2 - 1e-3
        assert scales.max() <= T * (1 + 1e-3)


def test_chrono_of_a_gru_moves_the_update_gate_alone():
    values, _ = drawn(layers("GRU"), "chrono")
    reset, update, new = blocks(values["bias_ih_l0"])
    assert (update >= 0).all()
    assert update.std() > 0.5
    assert not reset.any()
    assert not new.any()
    assert not values["bias_hh_l0"].any()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_chrono_gates_are_opposite_in_every_dtype(dtype):
    inputs = torch.zeros(3, 2, IN, dtype=dtype)
    values, _ = drawn(lambda: nn.LSTM(IN, H).to(dtype), "chrono,t_max=784", inputs)
    enter, forget, *_ = blocks(values["bias_ih_l0"])
    assert torch.equal(enter, -forget)
    assert len(forget.unique()) > H / 2


def test_chrono_leaves_weights_and_goes_before_others():
    steps = plan(layers("LSTM")(), "chrono|lstm")
    assert steps["bias_ih_l0"].initializer == plan(layers("LSTM")(), "chrono")["bias_ih_l0"].initializer
    assert steps["weight_hh_l0"].initializer == plan(layers("LSTM")(), "lstm")["weight_hh_l0"].initializer
    assert "chrono has no rule" in plan(layers("LSTM")(), "chrono")["weight_hh_l0"].why


@pytest.mark.parametrize("t_max", [2, 1, -3])
def test_chrono_needs_a_length(t_max):
    with pytest.raises(ArgumentError) as caught:
        named(f"chrono,t_max={t_max}")
    assert str(caught.value) == f"recipe 'chrono': t_max must be above 2 time steps, got {t_max}"


@pytest.mark.parametrize(("recipe", "paper"), [("lstm", "Keras"), ("irnn", "1504.00941"), ("chrono", "1804.11188")])
def test_each_cites_its_paper(recipe, paper):
    assert paper in named(recipe).source
