"""The plan alone gives a fresh model the very bits that the measurement left."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

import fanin
from fanin import data_driven
from fanin.initializers import Blocks, Normal, Orthogonal, Scaled, TruncatedNormal, Uniform, Zeros
from fanin.plans.steps import Copy
from fanin.random import Stream
from fanin.torch.fill import fill_pieces
from fanin.torch.pieces import pieces_of

LABELS = torch.arange(24) % 5


class Everything(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3)
        self.norm = nn.BatchNorm2d(8)
        self.grouped = nn.Conv2d(8, 8, 3, groups=2, bias=False)
        self.attend = nn.MultiheadAttention(8, 2, batch_first=True)
        self.steps = nn.LSTM(8, 8, batch_first=True)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        x = self.grouped(self.norm(self.stem(x)).relu()).flatten(2).mT
        x = self.attend(x, x, x, need_weights=False)[0]
        return self.head(self.steps(x)[0][:, -1])


def metainit(model, inputs, **options):
    return data_driven.metainit(model, inputs, LABELS, steps=3, **options)


def gradinit(model, inputs, **options):
    return data_driven.gradinit(model, inputs, LABELS, steps=3, lr=0.05, **options)


VERBS = [fanin.lsuv, data_driven.within_layer, metainit, gradinit]


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.__name__)
@pytest.mark.parametrize("recipe", ["orthogonal", "he", "native"])
def test_a_fresh_model_gets_the_same_bits(noise, same_bits, scrambled, verb, recipe):
    model, batch = Everything(), noise(24, 3, 7, 7)
    fresh = scrambled(model)
    made = verb(model, batch, recipe=recipe, seed=11)
    assert same_bits(model, made, fresh, seed=11) == []
    assert same_bits(model, made, scrambled(model), seed=12) != []
    assert len(set(made["stem.weight"].why.split("; "))) > 1


def test_a_captured_model_gets_the_same_bits(noise, state):
    model, batch = Everything(), noise(24, 3, 7, 7)
    made = fanin.lsuv(model, batch)
    captured = fanin.capture(Everything)
    fanin.materialize(captured.model, made, 0)
    assert all(torch.equal(tensor, state(captured.model)[name]) for name, tensor in state(model).items())


def test_a_second_measurement_changes_nothing(noise):
    model, batch = Everything(), noise(24, 3, 7, 7)
    made = fanin.lsuv(model, batch)
    again = fanin.lsuv(model, batch, plan=made)
    assert [step.action for step in again.steps] == [step.action for step in made.steps]


@pytest.mark.parametrize(
    "law",
    [
        Normal(0.1, 0.5),
        Uniform(-0.3, 0.5),
        TruncatedNormal(std=0.2),
        Orthogonal(),
        Orthogonal(gain=1.7),
        Scaled(Normal(), (0.5, 2.0), (2, 1)),
        Blocks(Normal(), (((0, 0), (4, 8), Orthogonal()), ((4, 0), (2, 8), Zeros()))),
    ],
    ids=lambda law: type(law).__name__,
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("verb", [fanin.lsuv, data_driven.within_layer], ids=lambda verb: verb.__name__)
def test_every_law(noise, same_bits, scrambled, law, dtype, verb):
    model, batch = nn.Linear(8, 12).to(dtype), noise(64, 8).to(dtype)
    options = {"between": False} if verb is data_driven.within_layer else {"tolerance": 0.0}
    plan = fanin.plan(model, "he", batch).override({"weight": law})
    made = verb(model, batch, plan=plan, **options)
    assert same_bits(model, made, scrambled(model)) == []
    out = model(batch).detach().double()
    near = 0.02 if dtype == torch.bfloat16 else 1e-5
    if verb is fanin.lsuv:
        assert abs(float(out.var(correction=0)) - 1) < near
    else:
        alive = model.weight.detach().abs().sum(1) > 0
        assert float((out.std(0, correction=0)[alive] - 1).abs().max()) < near
    mean, std = made["weight"].initializer.moments((12, 8))
    values = model.weight.detach().double()
    assert abs(float(values.mean()) - mean) < 5 * std / 96**0.5 + 0.01 * std
    assert abs(float(values.std(correction=0)) / std - 1) < 0.25


@pytest.mark.parametrize("verb", [fanin.lsuv, data_driven.within_layer], ids=lambda verb: verb.__name__)
def test_loaded_weights_are_scaled_on_their_way_in(noise, same_bits, scrambled, tmp_path, verb):
    source = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 4)).to(torch.bfloat16)
    fanin.save(source, tmp_path / "w.safetensors")
    model, batch = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 4)), noise(128, 8)
    plan = fanin.load(model, tmp_path / "w.safetensors").plan
    assert isinstance(plan["0.weight"].action, Copy)
    fanin.unkeep(model)
    made = verb(model, batch, plan=plan, **({"between": False} if verb is data_driven.within_layer else {}))
    (op, *factors), *_ = made["0.weight"].action.changes
    assert op == ("scale" if verb is fanin.lsuv else "scale_along")
    assert len(factors) == (1 if verb is fanin.lsuv else 33)
    assert abs(float(model[0](batch).detach().var(correction=0)) - 1) <= 0.02
    assert same_bits(model, made, scrambled(nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 4)))) == []


def test_weights_given_under_a_name(noise, same_bits, scrambled):
    model, batch = nn.Linear(8, 4), noise(64, 8)
    given = {"mine": {"w": noise(4, 8) * 7, "b": torch.zeros(4)}}
    plan = fanin.plan(model, "he", batch)
    steps = {name: Copy("mine", key) for name, key in (("weight", "w"), ("bias", "b"))}
    plan = replace(plan, steps=tuple(replace(step, action=steps[step.name]) for step in plan.steps))
    made = fanin.lsuv(model, batch, plan=plan, sources=given)
    assert abs(float(model(batch).detach().var(correction=0)) - 1) <= 0.01
    assert same_bits(model, made, scrambled(model), sources=given) == []


def test_shards_of_a_distributed_model_get_their_part(noise):
    distributed = pytest.importorskip("torch.distributed")
    if not distributed.is_available():
        pytest.skip("torch.distributed is not available")
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor
    from torch.testing._internal.distributed.fake_pg import FakeStore

    distributed.init_process_group("fake", store=FakeStore(), rank=1, world_size=2)
    try:
        mesh = init_device_mesh("cpu", (2,))
        whole, batch = nn.Linear(8, 6), noise(64, 8)
        made = fanin.lsuv(whole, batch)
        sharded = nn.Linear(8, 6)
        for name, parameter in list(sharded.named_parameters()):
            setattr(sharded, name, nn.Parameter(distribute_tensor(torch.zeros_like(parameter), mesh, [Shard(0)])))
        with pytest.raises(fanin.DataError, match=r"'weight' is sharded \(DTensor\): measure the whole model"):
            fanin.lsuv(sharded, batch)
        pieces = pieces_of(sharded.weight)
        fill_pieces(pieces, made["weight"].initializer, Stream.named(0, "weight"))
        assert torch.equal(sharded.weight._local_tensor, whole.weight.detach()[3:])
    finally:
        distributed.destroy_process_group()
