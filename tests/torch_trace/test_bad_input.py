"""Bad input: the model is exactly restored, and what could not be learned is said. Through trace and through plan."""

import copy
import random

import numpy as np
import pytest
import torch
from torch import nn

import fanin
from fanin.errors import TraceError
from fanin.torch.trace import trace


def snapshot(model):
    """Everything about a model that a pass may change, and every random state."""
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return (
        {name: (id(tensor), tensor._version, tensor.device, tensor.dtype) for name, tensor in tensors.items()},
        {name: None if tensor.is_meta else tensor.detach().clone().tolist() for name, tensor in tensors.items()},
        {name: tensor.grad for name, tensor in model.named_parameters()},
        [
            (module.training, dict(module._forward_hooks), dict(module._forward_pre_hooks), sorted(vars(module)))
            for module in model.modules()
        ],
        copy.deepcopy(vars(getattr(model, "config", None))) if hasattr(model, "config") else None,
        (torch.get_rng_state().tolist(), random.getstate(), str(np.random.get_state())),
        (torch.is_grad_enabled(), torch.get_default_dtype(), torch.get_default_device()),
    )


def ways():
    return pytest.mark.parametrize("look", [trace, lambda model, *inputs: fanin.plan(model, "he", *inputs)])


class Raises(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 2)
        self.register_buffer("calls", torch.zeros(()))
        self.config = type("Config", (), {})()
        self.config.use_cache = True

    def forward(self, x):
        self.calls += 1
        self.config.use_cache = False
        x = self.first(x + torch.rand(()))
        if self.calls > 0:
            raise RuntimeError("on purpose")
        return self.second(x)


@ways()
@pytest.mark.parametrize("given", [False, True])
def test_a_forward_that_raises(look, given):
    model = Raises().train()
    before = snapshot(model)
    if given:
        with pytest.raises(TraceError, match=r"^the forward pass failed in Raises: RuntimeError: on purpose$"):
            look(model, torch.zeros(2, 4))
    else:
        note = next(note for note in look(model).notes if "was not followed to its end" in note)
        assert "the forward pass failed in Raises: RuntimeError: on purpose" in note
        assert "module classes fill in: pass inputs= to trace it" in note
    assert snapshot(model) == before


class Chooses(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        return self.a(x) if x.mean() > 0 else self.b(x)


@ways()
def test_control_flow_that_depends_on_data(look):
    model = Chooses()
    before = snapshot(model)
    notes = look(model, torch.ones(2, 4)).notes
    assert any(note.startswith("code asks for values, which a trace does not have") for note in notes)
    assert snapshot(model) == before


@ways()
def test_two_outputs(look):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.mean, self.spread = nn.Linear(4, 4), nn.Linear(4, 2), nn.Linear(4, 2)

        def forward(self, x):
            hidden = torch.relu(self.body(x))
            return self.mean(hidden), {"spread": self.spread(hidden)}

    model = Two()
    before = snapshot(model)
    found = look(model)
    assert not any("never reached" in note or "not followed" in note for note in found.notes)
    assert snapshot(model) == before
    graph = trace(model)
    assert graph.unreached == ()
    assert graph.of("body.weight")[0].activation == "relu"


@ways()
def test_missing_inputs(look):
    model = nn.Bilinear(3, 4, 2)
    before = snapshot(model)
    with pytest.raises(TraceError, match=r"^the forward pass failed in Bilinear: TypeError: .*missing 1 required"):
        look(model, torch.zeros(2, 3))
    assert snapshot(model) == before


@ways()
def test_inputs_that_do_not_fit_name_the_layer(look):
    model = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.ReLU(), nn.Linear(5, 3)))
    with pytest.raises(TraceError, match=r"^the forward pass failed in layer '1\.1' \(Linear\): RuntimeError: "):
        look(model, torch.zeros(2, 4))


@ways()
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_dtypes(look, dtype):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(3600, 2)).to(dtype)
    before = snapshot(model)
    assert not any("not followed" in note for note in look(model).notes)
    assert snapshot(model) == before
    assert trace(model).unreached == ()


@ways()
def test_a_model_on_another_device(look):
    with torch.device("meta"):
        model = nn.Sequential(nn.Embedding(9, 4), nn.LayerNorm(4), nn.Linear(4, 2))
    before = snapshot(model)
    assert not any("not followed" in note for note in look(model).notes)
    assert snapshot(model) == before
    assert all(parameter.is_meta for parameter in model.parameters())


@ways()
def test_a_module_used_twice(look):
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.norm = nn.Linear(4, 4), nn.LayerNorm(4)

        def forward(self, x):
            return self.layer(torch.relu(self.layer(self.norm(x))))

    model = Twice()
    before = snapshot(model)
    assert not any("not followed" in note for note in look(model).notes)
    assert snapshot(model) == before
    assert [use.activation for use in trace(model).of("layer.weight")] == ["relu", "linear"]


@ways()
def test_a_lazily_built_module_that_never_ran(look):
    model = nn.Sequential(nn.LazyLinear(4), nn.ReLU(), nn.LazyLinear(2))
    with pytest.raises(fanin.FaninError, match="lazy"):
        look(model)
    assert isinstance(model[0], nn.LazyLinear)
    assert model[0].has_uninitialized_params()


def test_a_lazily_built_module_that_ran_is_an_ordinary_one():
    model = nn.Sequential(nn.LazyLinear(4), nn.ReLU(), nn.LazyLinear(2))
    model(torch.zeros(1, 3))
    graph = trace(model)
    assert [graph.of(f"{name}.weight")[0].axes.fans for name in (0, 2)] == [(3, 4), (4, 2)]
