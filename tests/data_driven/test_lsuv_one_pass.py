"""LSUV runs the model once, and leaves behind nothing but the weights."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import fanin
from fanin import data_driven
from fanin.data_driven.guard import evaluated
from fanin.errors import ArgumentError, DataError, FaninError, PlanError
from fanin.plans.steps import Keep


class Counted(nn.Module):
    """Counts its passes, and uses every kind of random number."""

    def __init__(self):
        super().__init__()
        self.passes = 0
        self.first, self.second = nn.Linear(8, 16), nn.Linear(16, 4)
        self.norm = nn.BatchNorm1d(16)
        self.drop = nn.Dropout(0.5)
        self.register_buffer("last", torch.zeros(()))

    def forward(self, x):
        self.passes += 1
        self.last += 1
        random.random(), np.random.rand(), torch.rand(1)
        return self.second(self.drop(self.norm(self.first(x)).relu()))


@pytest.fixture
def model():
    model = Counted()
    model.norm.running_mean.fill_(0.25)
    model.second.eval()
    return model


def test_there_is_one_forward_pass(model, noise):
    fanin.lsuv(model, noise(32, 8))
    assert model.passes == 1


def test_the_pass_runs_in_evaluation_mode(model, noise, variances):
    batch = noise(32, 8)
    fanin.lsuv(model.train(), batch, tolerance=0.0)
    assert max(abs(variance - 1) for variance in variances(model, batch).values()) < 2e-5


def test_modes_hooks_gradients_statistics_and_random_states_stay(model, noise):
    calls = []
    handle = model.first.register_forward_hook(lambda *_: calls.append("hook"))
    model(noise(32, 8, seed=1)).sum().backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    values = {name: gradient.clone() for name, gradient in gradients.items()}
    plan = fanin.plan(model, "orthogonal", noise(32, 8))
    steps = (replace(step, action=Keep()) if step.kind == "buffer" else step for step in plan.steps)
    plan = replace(plan, steps=tuple(steps))
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    before = random.getstate(), str(np.random.get_state()), torch.get_rng_state()
    identities = {name: id(parameter) for name, parameter in model.named_parameters()}
    calls.clear()
    fanin.lsuv(model, noise(32, 8), plan=plan)
    assert calls == ["hook"]
    assert random.getstate() == before[0]
    assert str(np.random.get_state()) == before[1]
    assert torch.equal(torch.get_rng_state(), before[2])
    assert [module.training for module in model.modules()] == [True, True, False, True, True]
    assert all(torch.equal(buffer, buffers[name]) for name, buffer in model.named_buffers())
    assert all(parameter.grad is gradients[name] for name, parameter in model.named_parameters())
    assert all(torch.equal(parameter.grad, values[name]) for name, parameter in model.named_parameters())
    assert {name: id(parameter) for name, parameter in model.named_parameters()} == identities
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert list(model.first._forward_hooks) == [handle.id]
    assert not model.second._forward_hooks
    assert torch.is_grad_enabled()


def test_the_fused_attention_path_stays_as_it_was(noise):
    fanin.lsuv(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), noise(4, 3, 8))
    assert torch.backends.mha.get_fastpath_enabled()


class Failing(nn.Module):
    def __init__(self, how):
        super().__init__()
        self.first, self.second, self.norm = nn.Linear(8, 16), nn.Linear(16, 4), nn.BatchNorm1d(16)
        self.how = how

    def forward(self, x):
        x = self.norm(self.first(x))
        if x.is_meta:  # so that planning succeeds and the measurement is what fails
            return self.second(x)
        if self.how == "raises":
            raise RuntimeError("no such luck")
        if self.how == "interrupted":
            raise KeyboardInterrupt
        return self.second(x * float("inf") if self.how == "overflows" else x)


VERBS = {
    "lsuv": fanin.lsuv,
    "within_layer": data_driven.within_layer,
    "metainit": lambda model, batch: data_driven.metainit(model, batch, torch.zeros(32, dtype=torch.long), steps=2),
    "gradinit": lambda model, batch: data_driven.gradinit(model, batch, torch.zeros(32, dtype=torch.long), steps=2),
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    ("how", "error", "text"),
    [
        ("raises", DataError, "the forward pass of Failing failed: no such luck; the model is as it was before"),
        ("overflows", DataError, "not finite|is nan"),
        ("interrupted", KeyboardInterrupt, None),
    ],
)
def test_after_an_error_every_tensor_is_as_before(noise, state, verb, how, error, text):
    model = Failing(how)
    with torch.no_grad():
        model.first.weight[0, 0] = float("nan")
    before, buffers = state(model), list(model.buffers())
    with pytest.raises(error, match=text):
        VERBS[verb](model, noise(32, 8))
    after = state(model)
    assert all(torch.equal(before[name], after[name]) or name == "first.weight" for name in before)
    assert before["first.weight"].view(torch.int32).equal(after["first.weight"].view(torch.int32))
    assert [id(buffer) for buffer in buffers] == [id(buffer) for buffer in model.buffers()]
    assert all(module.training for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_batch_that_cannot_be_measured_is_refused(noise, state):
    model, batch = nn.Linear(8, 4), noise(32, 8)
    before = state(model)
    broken = batch.clone()
    broken[3, 2] = float("nan")
    cases = [
        (broken, "the batch holds 1 non-finite values of 256: nothing can be scaled by them; clean the data first"),
        (torch.zeros(4, 8), "every value of the batch is zero, so no layer's output has a scale: give real samples"),
        (batch[:0], "the batch is empty: shape (0, 8); give at least one sample"),
        (batch.to("meta"), "the batch is on meta, the model on cpu: move one, e.g. batch.to('cpu')"),
        ({}, "the inputs hold no tensor: give a batch, a tuple of arguments or a dict of keywords"),
    ]
    for inputs, text in cases:
        with pytest.raises(DataError) as caught:
            fanin.lsuv(model, inputs)
        assert str(caught.value) == text
    assert all(torch.equal(before[name], tensor) for name, tensor in state(model).items())


def test_a_model_that_cannot_be_measured_is_refused(noise):
    batch = noise(32, 8)
    with pytest.raises(DataError, match="the model ReLU has no parameters: there is nothing to initialize"):
        fanin.lsuv(nn.ReLU(), batch)
    with pytest.raises(DataError, match="parameter 'weight' is on the meta device, where nothing can be measured"):
        fanin.lsuv(nn.Linear(8, 4, device="meta"), batch)
    with pytest.raises(DataError, match="parameter 'weight' is on the meta device"):
        fanin.lsuv(fanin.capture(lambda: nn.Linear(8, 4)), batch)
    with pytest.raises(DataError, match="no layer of LayerNorm multiplies its input by a parameter: nothing to resc"):
        fanin.lsuv(nn.LayerNorm(8), batch)
    with pytest.raises(ArgumentError, match="expected a module, got int"):
        fanin.lsuv(3, batch)
    with pytest.raises(ArgumentError, match=r"tolerance must be a number from 0, got -0\.1"):
        fanin.lsuv(nn.Linear(8, 4), batch, tolerance=-0.1)
    with pytest.raises(PlanError, match="the plan has no step for 'weight' of Linear: plan this model"):
        fanin.lsuv(nn.Linear(8, 4), batch, plan=fanin.plan(nn.Sequential(nn.Linear(8, 4))))
    with pytest.raises(FaninError):
        fanin.lsuv(nn.Linear(8, 4), noise(32, 9))


def test_protected_tensors_are_kept(noise):
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    fanin.keep(model[0])
    before = model[0].weight.detach().clone()
    made = fanin.lsuv(model, noise(32, 8))
    assert torch.equal(model[0].weight, before)
    assert made["0.weight"].why.endswith("LSUV: kept: a step that does keep")
    assert abs(float(model(noise(32, 8)).detach().var(correction=0)) - 1) <= 0.01


def test_buffers_that_a_pass_replaces_and_gradients_that_it_drops_are_put_back(noise):
    model = Counted()
    model(noise(32, 8)).sum().backward()
    buffers = {name: (buffer, buffer.clone()) for name, buffer in model.named_buffers()}
    gradients = [parameter.grad for parameter in model.parameters()]
    with evaluated(model):
        model.last = model.last + 5
        model.norm.running_mean = None
        model.zero_grad()
    for name, buffer in model.named_buffers():
        kept, values = buffers[name]
        assert buffer is kept
        assert torch.equal(buffer, values)
    assert len(list(model.buffers())) == len(buffers)
    assert all(now.grad is before for now, before in zip(model.parameters(), gradients, strict=True))
