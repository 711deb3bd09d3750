"""Wrappers that compute nothing new change neither names nor bits: torch.compile, checkpointing, data parallelism."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from torch.nn.parallel import DistributedDataParallel

import fanin
from fanin.errors import PlanError
from fanin.torch.tensors import stored_tensors
from fanin.torch.unwrapped import unwrapped


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(6)
        self.up, self.down = nn.Linear(6, 11), nn.Linear(11, 6)

    def forward(self, x):
        return x + self.down(torch.relu(self.up(self.norm(x))))


class Net(nn.Module):
    """`module` is a name that data parallelism uses too; here it is the model's own."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(13, 6)
        self.module = nn.ModuleList([Block() for _ in range(2)])
        self.head = nn.Linear(6, 13, bias=False)
        self.head.weight = self.embedding.weight
        self.register_buffer("table", torch.arange(9.0).sin())

    def forward(self, tokens):
        x = self.embedding(tokens)
        for block in self.module:
            x = block(x)
        return self.head(x) * self.table[1]


def compiled(model):
    return torch.compile(model)


def compiled_inside(model):
    model.module[1] = torch.compile(model.module[1])
    return model


def checkpointed(model):
    model.module[0] = checkpoint_wrapper(model.module[0])
    return model


def everything(model):
    return torch.compile(DistributedDataParallel(compiled_inside(checkpointed(model))))


WRAPPINGS = [compiled, compiled_inside, checkpointed, nn.DataParallel, DistributedDataParallel, everything]
tokens = torch.zeros(1, 3, dtype=torch.long)


@pytest.fixture
def one_rank(world):
    """DistributedDataParallel needs a process group."""
    with world(0, (1,)):
        yield


@pytest.fixture(scope="module")
def plan():
    return fanin.plan(Net, "he", tokens)


@pytest.fixture(scope="module")
def truth(plan):
    return {item.name: item.tensor.detach() for item in stored_tensors(fanin.materialize(Net(), plan, seed=5))}


@pytest.mark.parametrize("wrap", WRAPPINGS, ids=lambda wrap: wrap.__name__)
@pytest.mark.usefixtures("one_rank")
class TestEachWrapping:
    def test_names_and_ties(self, wrap):
        expected = [(item.name, item.aliases, item.kind, item.persistent) for item in stored_tensors(Net())]
        assert [
            (each.name, each.aliases, each.kind, each.persistent) for each in stored_tensors(wrap(Net()))
        ] == expected

    def test_plan_and_explanation(self, wrap):
        made = fanin.plan(wrap(Net()), "he", tokens)
        plain = fanin.plan(Net(), "he", tokens)
        assert made.to_json() == plain.to_json()
        assert made.explain("module.0.up.weight") == plain.explain("module.0.up.weight")

    def test_count(self, wrap):
        assert fanin.count(wrap(Net()), tokens) == fanin.count(Net(), tokens)

    def test_materialize_and_keep(self, wrap, plan, truth):
        model = wrap(Net())
        assert fanin.materialize(model, plan, seed=5) is model
        for item in stored_tensors(model):
            assert torch.equal(item.tensor, truth[item.name]), item.name
        assert fanin.keep(model, "module.1.up") == ("module.1.up.weight", "module.1.up.bias")
        assert fanin.plan(model, "he", tokens)["module.1.up.bias"].why == "marked keep: its values stay as they are"


@pytest.mark.parametrize("wrap", [compiled, compiled_inside, checkpointed])
def test_check(wrap, plan):
    truth = fanin.check(fanin.materialize(Net(), plan, seed=5), tokens, plan=plan)
    model = fanin.materialize(wrap(Net()), plan, seed=5)
    assert str(fanin.check(model, tokens, plan=plan)) == str(truth)
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize("wrap", [compiled, compiled_inside, checkpointed, nn.DataParallel])
def test_meta_and_captured_models(wrap, plan, truth):
    with torch.device("meta"):
        meta = wrap(Net())
    captured = fanin.capture(lambda: wrap(Net()))
    assert captured.plan.to_json() == fanin.capture(Net).plan.to_json()
    for model in (meta, captured.model):
        fanin.materialize(model, plan, seed=5)
        for item in stored_tensors(model):
            assert torch.equal(item.tensor, truth[item.name]), item.name
    assert fanin.plan(captured, "he", tokens).diff(fanin.plan(fanin.capture(Net), "he", tokens)).changed == ()


def test_one_name_for_two_tensors_is_an_error():
    class Clash(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(2, 2))
            self._orig_mod = nn.Linear(2, 2)

    with pytest.raises(PlanError, match=r"two tensors are called 'weight' once the names of wrappers .* rename one"):
        fanin.plan(Clash())


def test_the_copy_without_wrappers_has_the_models_own_tensors():
    model = compiled_inside(Net())
    bare = unwrapped(model)
    assert bare is not model
    assert type(bare) is Net
    assert bare.embedding is model.embedding
    assert bare.module[1] is model.module[1]._orig_mod
    assert type(model.module[1]) is not Block, "the model itself stays wrapped"
    plain = Net()
    assert unwrapped(plain) is plain
