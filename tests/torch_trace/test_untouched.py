"""Tracing leaves the model, its hooks and every random generator as they were, also when forward raises."""

import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from fanin.errors import TraceError
from fanin.torch.trace import trace


class Chancy(nn.Module):
    """Draws from every generator, counts its calls, and may fail."""

    def __init__(self, fails):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(), nn.ReLU())
        self.register_buffer("seen", torch.zeros(1), persistent=False)
        self.fails, self.calls, self.log = fails, 0, []

    def forward(self, x):
        self.calls += 1
        self.log.append(random.random() + np.random.rand() + torch.rand(()).item())
        self.seen.add_(1)
        out = self.body(x + torch.rand(1))
        if self.fails:
            raise RuntimeError("on purpose")
        return out


def state(model):
    tensors = [*model.parameters(), *model.buffers()]
    return (
        [id(tensor) for tensor in tensors],
        [tensor._version for tensor in tensors],
        [tensor.detach().clone() for tensor in tensors],
        [(module.training, dict(module._forward_hooks), dict(module._forward_pre_hooks)) for module in model.modules()],
        [parameter.grad for parameter in model.parameters()],
        [parameter.requires_grad for parameter in model.parameters()],
        list(model.__dict__),
    )


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("given", [False, True])
def test_nothing_changes(fails, given):
    model = Chancy(fails).train()
    model.body[1].eval()
    heard = []
    model.body[0].register_forward_hook(lambda *_: heard.append("forward"))
    model.body[0].register_forward_pre_hook(lambda *_: heard.append("before"))
    model.body[0].weight.grad = torch.ones_like(model.body[0].weight)
    model.body[0].bias.requires_grad_(False)
    before = state(model)
    generators = torch.get_rng_state(), random.getstate(), str(np.random.get_state())
    inputs = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)) if given else None
    if fails and given:
        with pytest.raises(TraceError):
            trace(model, inputs)
    else:
        trace(model, inputs)
    after = state(model)
    assert before[0] == after[0]
    assert before[1] == after[1]
    assert all(torch.equal(one, other) for one, other in zip(before[2], after[2], strict=True))
    assert before[3] == after[3]
    assert all(one is other for one, other in zip(before[4], after[4], strict=True))
    assert before[5] == after[5]
    assert (model.calls, model.log, heard) == (0, [], [])
    assert torch.equal(generators[0], torch.get_rng_state())
    assert generators[1] == random.getstate()
    assert generators[2] == str(np.random.get_state())


def test_running_statistics_of_a_training_model_stay():
    model = nn.Sequential(nn.BatchNorm1d(3)).train()
    trace(model, torch.randn(8, 3, generator=torch.Generator().manual_seed(0)))
    assert model[0].num_batches_tracked == 0
    assert torch.equal(model[0].running_mean, torch.zeros(3))
    assert model.training


def test_the_pass_runs_in_evaluation_mode():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).train()
    assert trace(model, torch.zeros(1, 3)).unreached == ()  # training mode refuses a batch of one
    assert model[1].training


def test_caches_are_off_and_the_config_stays():
    class Cached(nn.Linear):
        def __init__(self):
            super().__init__(3, 2)
            self.config = SimpleNamespace(use_cache=True)

        def forward(self, x):
            if self.config.use_cache:
                raise RuntimeError("a cache")
            return super().forward(x)

    model = Cached()
    trace(model, torch.zeros(1, 3))
    assert model.config.use_cache is True


def test_inputs_stay():
    ids = torch.tensor([[1, 2, 3]])

    class Shifts(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(9, 2)

        def forward(self, ids):
            return self.table(ids.add_(1))

    assert trace(Shifts(), ids).of("table.weight")[0].op == "embedding"
    assert ids.tolist() == [[1, 2, 3]]


def test_a_meta_model_stays_meta():
    with torch.device("meta"):
        model = nn.Linear(3, 2)
    weight = model.weight
    assert trace(model).of("weight")[0].axes.fans == (3, 2)
    assert model.weight is weight


def test_plain_tensor_attributes_of_non_leaf_kind_can_be_copied():
    model = nn.Linear(3, 3)
    model.cache = model.weight * 2  # deepcopy refuses tensors with a history
    assert trace(model).of("weight")[0].axes.fans == (3, 3)


def test_a_model_that_cannot_be_copied_falls_back_to_module_classes():
    class Stubborn(nn.Sequential):
        def __deepcopy__(self, memo):
            raise RuntimeError("no copies")

    graph = trace(Stubborn(nn.Linear(3, 2)))
    assert graph.of("0.weight")[0].axes.fans == (3, 2)
    assert "Stubborn cannot be copied for tracing: no copies" in graph.notes[0]
    with pytest.raises(TraceError, match="Stubborn cannot be copied for tracing: no copies"):
        trace(Stubborn(nn.Linear(3, 2)), torch.zeros(1, 3))
