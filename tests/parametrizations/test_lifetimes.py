"""USERS I2-I4: what was scaled stays scaled in copies, compiled and sharded models, checkpoints and schedules."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from small_parametrized import Decoder, mlp, rates, tokens
from torch import nn
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, OneCycleLR, ReduceLROnPlateau, SequentialLR, StepLR

import fanin
from fanin.parametrizations import Parametrized, attach, record_of


@pytest.fixture
def model() -> Decoder:
    torch.manual_seed(0)
    return Decoder(32)


@pytest.fixture
def record(model: Decoder) -> Parametrized:
    return fanin.parametrize(model, base=lambda: Decoder(8))


def test_copies_and_pickles_have_multipliers_and_record(model: Decoder, record: Parametrized) -> None:
    expected = model(tokens())
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(twin(tokens()), expected)
        assert record_of(twin) == record
        assert rates(twin, record.parameter_groups(twin, 0.1)) == rates(model, record.parameter_groups(model, 0.1))
    plain = Decoder(32)
    plain.load_state_dict(model.state_dict())
    assert not torch.allclose(plain(tokens()), expected)


def test_a_compiled_model_has_them_too(model: Decoder, record: Parametrized) -> None:
    compiled: Any = torch.compile(model, backend="aot_eager")
    torch.testing.assert_close(compiled(tokens()), model(tokens()))
    assert record_of(compiled) == record
    assert sum(len(group["params"]) for group in record.parameter_groups(compiled, 0.1)) == len(record.tensors)
    inside = copy.deepcopy(model)
    inside.blocks[0] = torch.compile(inside.blocks[0], backend="aot_eager")
    with torch.no_grad():
        torch.testing.assert_close(inside(tokens()), model(tokens()))
    assert len(rates(inside, record.parameter_groups(inside, 0.1))) == len(record.tensors)


def test_a_checkpoint_and_its_record_make_the_model_again(model: Decoder, record: Parametrized, tmp_path: Path) -> None:
    fanin.save(model, tmp_path / "model.safetensors")
    record.save(tmp_path / "parametrization.json")
    again = Decoder(32)
    attach(again, Parametrized.load(tmp_path / "parametrization.json"))
    fanin.load(again, tmp_path / "model.safetensors")
    assert torch.equal(again(tokens()), model(tokens()))
    assert record_of(again) == record == Parametrized.from_json(record.to_json())


def test_twice_is_refused(model: Decoder, record: Parametrized) -> None:
    before = copy.deepcopy(model.state_dict())
    for again in (model, copy.deepcopy(model), torch.compile(model)):
        with pytest.raises(fanin.ArgumentError, match="parametrized with mup already: twice would scale it twice"):
            fanin.parametrize(again, base=lambda: Decoder(8))
        with pytest.raises(fanin.ArgumentError, match="parametrized with mup already"):
            attach(again, record)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert len(model.head._forward_pre_hooks) == 1


@pytest.mark.parametrize(
    "schedule",
    [
        lambda steps: LambdaLR(steps, lambda step: 1 / (1 + step)),
        lambda steps: CosineAnnealingLR(steps, 10),
        lambda steps: StepLR(steps, 2, 0.3),
        lambda steps: SequentialLR(steps, [LambdaLR(steps, lambda step: 0.1), CosineAnnealingLR(steps, 5)], [3]),
        lambda steps: OneCycleLR(steps, [0.5 * group["lr_factor"] for group in steps.param_groups], total_steps=20),
    ],
    ids=["lambda", "cosine", "step", "warmup then cosine", "one cycle"],
)
@pytest.mark.filterwarnings("ignore:The epoch parameter")
def test_schedules_keep_the_ratios(model: Decoder, record: Parametrized, schedule: Any) -> None:
    optimizer = torch.optim.AdamW(record.parameter_groups(model, 0.1), lr=0.1)
    scheduler = schedule(optimizer)
    for _ in range(6):
        optimizer.step()
        scheduler.step()
        ratios = [group["lr"] / group["lr_factor"] for group in optimizer.param_groups]
        assert ratios == pytest.approx([ratios[0]] * len(ratios))
    assert len(ratios) > 1


def test_a_plateau_keeps_them(model: Decoder, record: Parametrized) -> None:
    optimizer = torch.optim.SGD(record.parameter_groups(model, 0.1, optimizer="sgd"), lr=0.1)
    scheduler = ReduceLROnPlateau(optimizer, patience=0)
    for _ in range(3):
        scheduler.step(1.0)
    assert all(group["lr"] == pytest.approx(0.1 * group["lr_factor"] * 0.01) for group in optimizer.param_groups)


def test_frozen_parameters_and_vectors(model: Decoder, record: Parametrized) -> None:
    model.tokens.weight.requires_grad_(False)
    groups = record.parameter_groups(model, 0.1, weight_decay=0.5, decay_vectors=False)
    held = {id(each) for group in groups for each in group["params"]}
    assert id(model.tokens.weight) not in held
    decay = {id(each): group["weight_decay"] for group in groups for each in group["params"]}
    assert decay[id(model.norm.weight)] == decay[id(model.blocks[0].up.bias)] == 0.0
    assert decay[id(model.head.bias)] == 0.0
    assert decay[id(model.blocks[0].up.weight)] == 2.0
    assert decay[id(model.head.weight)] == 0.5


def test_two_ranks_of_fully_shard_train_as_one_process(tmp_path: Path) -> None:
    pytest.importorskip("torch.distributed.fsdp")
    script = Path(__file__).with_name("sharded_ranks.py")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "WORLD_SIZE": "2"}
    ranks = [
        subprocess.Popen(
            [sys.executable, str(script), str(tmp_path)],
            env=environment | {"RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for rank in range(2)
    ]
    told = [rank.communicate(timeout=120)[0].decode() for rank in ranks]
    assert all(rank.returncode == 0 for rank in ranks), told
    torch.manual_seed(0)
    single = mlp(32)
    record = fanin.parametrize(single, base=lambda: mlp(8))
    optimizer = torch.optim.AdamW(record.parameter_groups(single, 0.01), lr=0.01)
    inputs, labels = torch.randn(8, 10, generator=torch.Generator().manual_seed(1)), torch.arange(8) % 3
    for _ in range(3):
        optimizer.zero_grad()
        cross_entropy(single(inputs), labels).backward()
        optimizer.step()
    for way in ("values", "meta"):
        whole = torch.load(tmp_path / f"{way}.pt")
        if way == "values":
            for name, parameter in single.named_parameters():
                torch.testing.assert_close(whole[name], parameter.detach(), rtol=1e-4, atol=1e-5)
    drawn = fanin.capture(lambda: mlp(32))
    fanin.parametrize(drawn, base=lambda: mlp(8), seed=5)
    assert all(torch.equal(whole[name], each) for name, each in drawn.model.named_parameters())
    assert (tmp_path / "record.json").read_text() == record.to_json()


def test_nothing_of_torchs_random_state_is_used(model: Decoder) -> None:
    state = torch.get_rng_state()
    fanin.parametrize(fanin.capture(lambda: Decoder(32)), base=lambda: Decoder(8))
    fanin.parametrize(model, base_width=8)
    assert torch.equal(state, torch.get_rng_state())
    assert isinstance(model, nn.Module)
