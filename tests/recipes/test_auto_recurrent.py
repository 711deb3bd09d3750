"""`auto` through torch's recurrent layers: gate by gate, forget bias once, a state that neither dies nor explodes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fanin.torch.planning import initialize

INPUTS, UNITS, STEPS = 32, 64, 100
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


class Tagger(nn.Module):
    """A recurrent layer and a head on each of its states."""

    def __init__(self, kind, **options):
        super().__init__()
        self.layer = getattr(nn, kind)(INPUTS, UNITS, batch_first=True, **options)
        self.head = nn.Linear(UNITS, 5)

    def forward(self, x):
        return self.head(self.layer(x)[0])


def drawn(kind, seed=1, **options):
    model = Tagger(kind, **options)
    return model, initialize(model, "auto", torch.zeros(2, 7, INPUTS), seed=seed)


@pytest.mark.parametrize("kind", GATES)
def test_each_gate_is_a_block_of_its_own(kind):
    model, _ = drawn(kind)
    for block in model.layer.weight_hh_l0.detach().split(UNITS):
        torch.testing.assert_close(block @ block.T, torch.eye(UNITS), atol=1e-5, rtol=0)
    bound = (6 / (INPUTS + UNITS)) ** 0.5
    for block in model.layer.weight_ih_l0.detach().split(UNITS):
        assert 0.98 * bound < block.abs().max() <= bound
        # 2048 uniform values
        assert block.square().mean().item() == pytest.approx(bound**2 / 3, rel=5 * (4 / 5 / 2048) ** 0.5)


@pytest.mark.parametrize("kind", GATES)
def test_the_forget_gate_is_open_once(kind):
    model, plan = drawn(kind)
    total = (model.layer.bias_ih_l0 + model.layer.bias_hh_l0).detach().split(UNITS)
    assert [set(gate.tolist()) for gate in total] == [{float(kind == "LSTM" and n == 1)} for n in range(GATES[kind])]
    assert ("counted once" in plan["layer.bias_ih_l0"].why) == (kind == "LSTM")


@pytest.mark.parametrize(
    ("kind", "options"), [("LSTM", {}), ("GRU", {}), ("RNN", {}), ("RNN", {"nonlinearity": "relu"})]
)
def test_the_state_is_steady_over_a_hundred_steps(kind, options):
    model, plan = drawn(kind, **options)
    x = torch.randn(64, STEPS, INPUTS, generator=torch.Generator().manual_seed(0)).requires_grad_()
    states = model.layer(x)[0]
    moments = states.detach().double().square().mean((0, 2))
    # 64 sequences of 64 units, units alike by their common weights: about 5 % each
    assert 0.7 < moments[STEPS // 2 :].min() / moments[20] < moments[STEPS // 2 :].max() / moments[20] < 1.4
    assert 0.02 < moments[STEPS - 1] < 1
    states[:, -1].sum().backward()
    reach = x.grad.double().square().mean((0, 2))
    assert torch.isfinite(reach).all()
    assert reach.max() < 10 * reach[-1]
    # a head does not promise logits of variance 1 behind states that are narrower
    assert plan["head.weight"].why.endswith("logits of variance 1 out of variance 1")
