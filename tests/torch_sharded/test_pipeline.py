"""Pipeline stages: each materializes its own tensors under their names in the whole model."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.distributed.fsdp import fully_shard

import fanin
from fanin.errors import PlanError
from fanin.torch.pieces import pieces_of
from fanin.torch.tensors import stored_tensors


class Net(nn.Module):
    """The last layer starts as twice the first one, which is on another stage."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(11, 8)
        self.layers = nn.ModuleDict({str(number): nn.Linear(8, 8) for number in range(4)})
        self.head = nn.Linear(8, 11)
        self.register_buffer("table", torch.arange(8.0).sin())
        with torch.no_grad():
            self.layers["3"].weight.copy_(self.layers["0"].weight * 2)

    def forward(self, x):
        if self.embedding is not None:
            x = self.embedding(x)
        for layer in self.layers.values():
            x = torch.relu(layer(x)) + self.table
        return x if self.head is None else self.head(x)


@pytest.fixture(scope="module")
def plan():
    return fanin.plan(Net)


@pytest.fixture(scope="module")
def truth(plan):
    return {item.name: item.tensor.detach() for item in stored_tensors(fanin.materialize(Net(), plan, seed=6))}


def stages(whole: Net) -> list[Net]:
    """As pretraining code splits: copies of the model from which the other stages' modules are taken out."""
    first, last = copy.deepcopy(whole), copy.deepcopy(whole)
    first.head, last.embedding = None, None
    for number in "01":
        del last.layers[number]
    for number in "23":
        del first.layers[number]
    return [first, last]


def assert_parts(found: list[nn.Module], truth: dict[str, torch.Tensor]) -> None:
    seen = set()
    for stage in found:
        for item in stored_tensors(stage):
            for piece in pieces_of(item.tensor):
                where = tuple(slice(a, a + n) for a, n in zip(piece.region.start, piece.region.size, strict=True))
                assert torch.equal(piece.memory, truth[item.name][where]), item.name
            seen.add(item.name)
    assert seen == set(truth)


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_two_stages_are_parts_of_the_one_model(plan, truth, device):
    with torch.device(device):
        made = stages(Net())
    assert_parts([fanin.materialize(stage, plan, seed=6, partial=True) for stage in made], truth)


def test_stages_by_module(plan, truth):
    made = stages(Net())
    for stage in made:
        stage.apply(fanin.module_init(stage, plan, seed=6))
    assert_parts(made, truth)


def test_a_stage_under_fsdp2(world, plan, truth):
    with torch.device("meta"):
        made = stages(Net())
    with world(1, (2,)) as mesh:
        for stage in made:
            fanin.materialize(fully_shard(stage, mesh=mesh), plan, seed=6, partial=True)
        assert_parts(made, truth)


def test_a_stage_is_refused_unless_it_is_called_one(plan):
    stage = stages(Net())[0]
    before = stage.embedding.weight.clone()
    with pytest.raises(PlanError, match=r"the model has no tensor .*'layers\.2\.weight'.* or pass partial=True"):
        fanin.materialize(stage, plan, seed=6)
    assert torch.equal(stage.embedding.weight, before)


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")  # torch.export uses what torch announces to end
def test_the_stages_that_torch_pipelining_makes(plan, truth):
    from torch.distributed.pipelining import SplitPoint, pipeline

    split = pipeline(Net(), (torch.zeros(2, 3, dtype=torch.long),), split_spec={"layers.2": SplitPoint.BEGINNING})
    made = [split.get_stage_module(number) for number in range(2)]
    assert_parts([fanin.materialize(stage, plan, seed=6, partial=True) for stage in made], truth)
