"""What cannot get a new head is refused before anything changes."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.distributed.tensor import Shard, distribute_tensor

import fanin
from fanin import new_head
from fanin.initializers import Initializer, Normal

M = SimpleNamespace(**run_path(str(Path(__file__).with_name("models.py"))))


def bits(model: nn.Module) -> dict[str, str]:
    state = model.state_dict()
    return {name: blake2b(tensor.contiguous().numpy().tobytes()).hexdigest() for name, tensor in state.items()}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"out_features": 0}, "out_features must be a positive integer, got 0"),
        ({"out_features": 2.0}, "out_features must be a positive integer, got 2.0"),
        ({"out_features": True}, "out_features must be a positive integer, got True"),
        ({"head": "decoder"}, "unknown module 'decoder'"),
        ({"init": "nonsense"}, "unknown recipe 'nonsense'"),
        ({"init": 3}, "init must be 'zero', a recipe or an initializer, got 3"),
        ({"bias": "prior"}, "bias must be 'zero', 'nlhb', a number or one for each output, got 'prior'"),
        ({"bias": [1.0, 2.0]}, r"bias needs 3 numbers, one for each output, got shape \(2,\)"),
        ({"bias": float("nan")}, "bias must be finite, got nan"),
        ({"bias": [[1, 2, 3]]}, r"bias needs 3 numbers, one for each output, got shape \(1, 3\)"),
        ({"bias": 0.5, "prior": [1, 1, 1]}, "pass either bias or prior, not both"),
        ({"prior": [1, 1]}, r"prior needs 3 numbers, one for each output, got shape \(2,\)"),
        ({"prior": 0.5}, r"prior needs 3 numbers, one for each output, got shape \(\)"),
        ({"prior": "equal"}, "prior must be numbers, got 'equal'"),
        ({"prior": [5, 0, 2]}, "class 1 has the prior 0.0, which has no logarithm: give every class a count above 0"),
        ({"prior": [5, 1, -2]}, "class 2 has the prior -2.0"),
        ({"prior": [5, 1, float("inf")]}, "prior must be finite, got inf"),
        ({"prior": 1.0, "link": "sigmoid"}, "a sigmoid's prior is a chance between 0 and 1, got 1.0"),
        ({"prior": [0.5, 0.0, 0.5], "link": "sigmoid"}, "between 0 and 1, got 0.0"),
        ({"out_features": 1, "prior": [3]}, "a softmax over one output says nothing: pass link='sigmoid'"),
        ({"link": "probit"}, "link must be 'softmax' or 'sigmoid', got 'probit'"),
        ({"seed": -1}, "seed must be from 0"),
    ],
)
def test_bad_arguments_are_refused_and_nothing_changes(arguments: dict[str, Any], message: str) -> None:
    model = M.mlp()
    before = bits(model)
    with pytest.raises((fanin.ArgumentError, fanin.UnknownNameError), match=message):
        new_head(model, **({"out_features": 3} | arguments))
    assert bits(model) == before
    assert model[2].out_features == 10


def test_models_without_a_head_are_refused() -> None:
    with pytest.raises(fanin.ArgumentError, match="changes a module, got str"):
        new_head("bert", 3)
    with pytest.raises(fanin.ArgumentError, match="no head was found in Sequential: name the module"):
        new_head(nn.Sequential(nn.Flatten(), nn.ReLU()), 3)
    sizes = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
    with pytest.raises(fanin.ArgumentError, match="no head was found in ResNetModel"):
        new_head(M.transformers.ResNetModel(M.transformers.ResNetConfig(**sizes)), 3)
    with pytest.raises(fanin.ArgumentError, match="no head was found in Sequential"):
        new_head(nn.Sequential(nn.Linear(6, 16), M.encoder()[0]), 3)
    with pytest.raises(fanin.ArgumentError, match="no head was found in '0'"):
        new_head(nn.Sequential(nn.ReLU(), nn.Linear(4, 2)), 3, head="0")


def test_a_tied_head_is_refused() -> None:
    model = M.gpt2()
    with pytest.raises(
        fanin.PlanError, match=r"head 'lm_head' is tied to transformer.wte.weight, which a new head would"
    ):
        new_head(model, 3)
    assert model.lm_head.weight.shape == (97, 32)


def test_what_follows_the_head_and_wants_the_old_size_is_found_and_all_is_taken_back() -> None:
    class Weighted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(6, 10, bias=False)
            self.num_classes = 10
            self.register_buffer("weights", torch.ones(10))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(x) * self.weights

    model = Weighted()
    fanin.keep(model, "head")
    before, weight = bits(model), model.head.weight
    with pytest.raises(fanin.PlanError, match="a part of the model has the old size"):
        new_head(model, 3, prior=[1, 2, 3], override_keep=True)
    assert bits(model) == before
    assert model.head.weight is weight
    assert model.head.bias is None
    assert (model.num_classes, model.head.out_features) == (10, 10)
    assert "keep" in fanin.plan(model, "he")["head.weight"].why


def test_a_law_that_does_not_fit_takes_all_back(monkeypatch: pytest.MonkeyPatch) -> None:
    model = M.bert()
    monkeypatch.setattr(Initializer, "registry", dict(Initializer.registry))
    before, labels = bits(model), dict(model.config.id2label)

    class Broken(Normal):
        def fill(self, *_: object, **__: object) -> None:
            raise fanin.ArgumentError("this law breaks")

    with pytest.raises(fanin.ArgumentError, match="this law breaks"):
        new_head(model, 5, init=Broken())
    assert bits(model) == before
    assert model.config.id2label == labels
    assert model.num_labels == 2
    assert model.classifier.out_features == 2


def test_a_module_that_adds_no_bias_gets_none() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(6, 4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x @ self.weight

    model = nn.Sequential(nn.Linear(6, 6), Own())
    with pytest.raises(fanin.PlanError, match=r"'1' \(Own\) has no bias, and its code adds none: only bias 0 fits it"):
        new_head(model, 3, prior=[1, 2, 1])
    new_head(model, 3)
    assert model(torch.ones(2, 6)).shape == (2, 3)
    assert model[1].weight.shape == (6, 3)


def test_groups_are_no_head() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 1, groups=2))
    with pytest.raises(fanin.PlanError, match=r"'2.weight' works in groups"):
        new_head(model, 6)


def test_a_sharded_head_without_its_other_ranks_is_refused(world: Any) -> None:
    with world(0, (2,)) as mesh:
        model = M.mlp()
        model[2].weight = nn.Parameter(distribute_tensor(model[2].weight.detach(), mesh, [Shard(0)]))
        with pytest.raises(fanin.PlanError, match=r"'2.weight' cannot change its size: it is sharded over a fake"):
            new_head(model, 3)
