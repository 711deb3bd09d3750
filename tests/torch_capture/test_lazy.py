"""Lazy layers with a forward pass inside the factory, and models cast to another dtype there."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from fanin.errors import CaptureError
from fanin.initializers import Constant, Uniform
from fanin.plans.steps import Replay
from fanin.torch.capture import capture
from fanin.torch.materialize import materialize

LAYERS = {
    "LazyLinear": (lambda: nn.LazyLinear(30), (2, 40)),
    "LazyConv1d": (lambda: nn.LazyConv1d(12, 3), (2, 8, 9)),
    "LazyConv2d": (lambda: nn.LazyConv2d(12, 3, groups=2), (2, 8, 9, 9)),
    "LazyConv3d": (lambda: nn.LazyConv3d(6, 3), (2, 4, 5, 5, 5)),
    "LazyConvTranspose1d": (lambda: nn.LazyConvTranspose1d(12, 3), (2, 8, 9)),
    "LazyConvTranspose2d": (lambda: nn.LazyConvTranspose2d(12, 3), (2, 8, 5, 5)),
    "LazyConvTranspose3d": (lambda: nn.LazyConvTranspose3d(6, 3), (2, 4, 5, 5, 5)),
    "LazyBatchNorm1d": (lambda: nn.LazyBatchNorm1d(), (4, 7)),
    "LazyBatchNorm2d": (lambda: nn.LazyBatchNorm2d(), (2, 7, 3, 3)),
    "LazyBatchNorm3d": (lambda: nn.LazyBatchNorm3d(), (2, 7, 3, 3, 3)),
    "LazyInstanceNorm1d": (lambda: nn.LazyInstanceNorm1d(affine=True), (2, 7, 3)),
    "LazyInstanceNorm2d": (lambda: nn.LazyInstanceNorm2d(affine=True, track_running_stats=True), (2, 7, 3, 3)),
    "LazyInstanceNorm3d": (lambda: nn.LazyInstanceNorm3d(), (2, 7, 3, 3, 3)),
}


def dry_run(make, shape, train=False):
    def factory():
        layer = make()
        layer.train(train)(torch.zeros(shape))
        return layer.train()

    return factory


@pytest.mark.parametrize("name", LAYERS)
def test_a_dry_run_gives_lazy_layers_their_shapes(name, agrees_with_constructor):
    captured = agrees_with_constructor(dry_run(*LAYERS[name])) if has_tensors(name) else capture(dry_run(*LAYERS[name]))
    assert type(captured.model).__name__ == name.removeprefix("Lazy")


def has_tensors(name):
    return bool(dry_run(*LAYERS[name])().state_dict())


def test_every_lazy_layer_of_torch_is_here():
    mixin = torch.nn.modules.lazy.LazyModuleMixin
    lazy = {name for name, found in vars(nn).items() if isinstance(found, type) and issubclass(found, mixin)}
    assert lazy == set(LAYERS)


def test_a_lazy_layer_without_a_shape_is_refused():
    with pytest.raises(CaptureError, match=r"a lazy layer, whose shape is unknown .* run the model on a batch inside"):
        capture(lambda: nn.Sequential(nn.Linear(2, 3), nn.LazyLinear(3)))


def trained_once():
    body = copy.deepcopy(nn.Sequential(nn.LazyConv2d(4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3)))
    model = nn.Sequential(body[0], nn.LazyBatchNorm2d(), *body[1:])
    model(torch.linspace(-1, 1, 8 * 5 * 36).reshape(8, 5, 6, 6))
    return model


def test_statistics_of_a_dry_run_in_training_are_those_of_the_drawn_weights():
    captured = capture(trained_once)
    plan = captured.plan
    assert isinstance(plan["1.running_var"].action, Replay)
    assert plan["1.num_batches_tracked"].initializer == Constant(1)
    model = materialize(captured.model, plan, seed=2)
    batch = torch.linspace(-1, 1, 8 * 5 * 36).reshape(8, 5, 6, 6)
    seen = model[0](batch).detach()
    assert torch.allclose(model[1].running_mean, 0.1 * seen.mean((0, 2, 3)), atol=1e-6)
    assert torch.allclose(model[1].running_var, 0.9 + 0.1 * seen.var((0, 2, 3)), atol=1e-6)


def test_a_dry_run_in_evaluation_leaves_the_statistics_alone():
    plan = capture(dry_run(*LAYERS["LazyBatchNorm2d"])).plan
    found = [plan[name].initializer for name in ("running_mean", "running_var", "num_batches_tracked")]
    assert found == [Constant(0.0), Constant(1.0), Constant(0)]


def halved():
    model = nn.Sequential(nn.Linear(40, 30), nn.BatchNorm1d(30), nn.Linear(30, 40, bias=False))
    model = model.half()
    model[2].weight = nn.Parameter(model[0].weight.detach().t().contiguous())
    model[0].by_hand = [model[0].weight]
    return model.double().half()


def test_a_model_cast_inside_the_factory_keeps_its_laws(agrees_with_constructor):
    captured = agrees_with_constructor(halved)
    bound = 1 / 40**0.5
    law = captured.plan["0.weight"].initializer
    assert (law.low, law.high) == (pytest.approx(-bound), pytest.approx(bound))
    assert isinstance(law, Uniform)
    assert captured.plan["0.weight"].dtype == "float16"
    model = captured.model
    assert model[0].by_hand[0] is model[0].weight
    assert torch.equal(model[2].weight, model[0].weight.t())
