"""What every description must keep: names, shapes, order, outputs, and itself through text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from fanin.models.architecture import Architecture, describe


def outputs(model: nn.Module, inputs: Any) -> list[torch.Tensor]:
    """What a model returns, as a list."""
    with torch.no_grad():
        made = model(*inputs) if isinstance(inputs, tuple) else model(inputs)
    return [made] if isinstance(made, torch.Tensor) else list(made)


@pytest.fixture
def kept() -> Callable[[nn.Module, Any], Architecture]:
    """Describe a model, through TOML and JSON and back, and compare what it builds with the model, bit for bit."""

    def check(model: nn.Module, inputs: Any) -> Architecture:
        model.eval()
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        made = describe(model, inputs, loss="mse")
        assert Architecture.from_toml(made.to_toml()) == made
        assert Architecture.from_json(made.to_json()) == made
        built = Architecture.from_toml(made.to_toml()).build().eval()
        shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
        assert {name: tensor.shape for name, tensor in built.state_dict().items()} == shapes
        assert list(built.state_dict()) == list(shapes)
        assert [name for name, _ in built.named_parameters()] == [name for name, _ in model.named_parameters()]
        built.load_state_dict(model.state_dict())
        for mine, wanted in zip(outputs(built, inputs), outputs(model, inputs), strict=True):
            assert torch.equal(mine, wanted)
        assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
        assert not model.training
        assert sum(p.numel() for p in model.parameters()) == made.parameters
        return made

    return check
