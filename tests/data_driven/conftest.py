"""Models, and outputs measured by hooks, which know nothing of how fanin measures."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import fanin


class Measured:
    """The outputs of some modules in one evaluation pass."""

    def __init__(self, model, inputs, kinds):
        self.outputs = {}
        names = {id(module): name for name, module in model.named_modules()}
        self._names = names
        handles = [m.register_forward_hook(self._see) for m in model.modules() if isinstance(m, kinds)]
        modes = [(module, module.training) for module in model.modules()]
        model.eval()
        with torch.no_grad():
            model(**inputs) if isinstance(inputs, dict) else model(*inputs)
        for handle in handles:
            handle.remove()
        for module, mode in modes:
            module.training = mode

    def _see(self, module, args, output):
        self.outputs.setdefault(self._names[id(module)], output[0] if isinstance(output, tuple) else output)

    @property
    def variances(self):
        return {name: float(out.double().var(correction=0)) for name, out in self.outputs.items()}


LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.Embedding, nn.Bilinear)


@pytest.fixture
def outputs():
    """outputs(model, *inputs) -> the outputs of its layers by module name."""
    return lambda model, *inputs, kinds=LAYERS, **named: Measured(model, named or inputs, kinds).outputs


@pytest.fixture
def variances():
    """variances(model, *inputs) -> the variance of each layer's output, in float64."""
    return lambda model, *inputs, kinds=LAYERS, **named: Measured(model, named or inputs, kinds).variances


@pytest.fixture
def state():
    """state(model) -> a copy of every stored tensor, non-persistent ones too."""

    def call(model):
        held = [*model.named_parameters(), *model.named_buffers()]
        return {name: tensor.detach().clone() for name, tensor in held}

    return call


@pytest.fixture
def same_bits(state):
    """same_bits(model, plan, fresh) -> the tensors in which a fresh model, drawn by the plan, differs."""

    def call(model, plan, fresh, seed=0, **options):
        again = fanin.Plan.from_json(plan.to_json())
        fanin.materialize(fresh, again, seed, **options)
        first, second = state(model), state(fresh)
        return [name for name in first if not torch.equal(first[name], second[name])]

    return call


@pytest.fixture
def scrambled():
    """A copy of a model with other values, so that nothing is right by having been right before."""

    def call(model):
        fresh = copy.deepcopy(model)
        with torch.no_grad():
            for tensor in [*fresh.parameters(), *fresh.buffers()]:
                tensor.fill_(3)
        return fresh

    return call


@pytest.fixture
def noise():
    """noise(*shape) -> the same normal values each time."""
    return lambda *shape, seed=0: torch.randn(shape, generator=torch.Generator().manual_seed(seed))
