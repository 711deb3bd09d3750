"""Bad input: one clear sentence, and the model stays as it was."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from small_parametrized import Decoder, mlp
from torch import nn

import fanin
from fanin.parametrizations import Parametrized, attach, complete_p


def unchanged(model: nn.Module, message: str, error: type[Exception] = fanin.ArgumentError, **arguments: Any) -> None:
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(error, match=message):
        fanin.parametrize(model, **arguments)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert fanin.parametrizations.record_of(model) is None


def test_bases_that_cannot_be_meant() -> None:
    unchanged(mlp(32), "give base= .* or base_width=, not neither")
    unchanged(mlp(32), "not both", base=mlp(8), base_width=8)
    unchanged(mlp(32), "no dimension differs between the model and its base, so nothing would scale", base=mlp(32))
    unchanged(mlp(32), "the base is wider than the model: 0.weight has shape", base=mlp(64))
    unchanged(mlp(32), "base_width must be from 1 to the model's width 32, got 64", base_width=64)
    unchanged(mlp(32), "base_width must be from 1 to the model's width 32, got 0", base_width=0)
    uneven = fanin.models.mlp((10, 32, 40, 3))
    unchanged(uneven, r"fc2.weight of shape \(40, 32\) would have the shape .* at the base width 2", base_width=2)
    unchanged(mlp(32), "the base Linear has no parameter like 0.weight", base=nn.Linear(3, 3))
    unchanged(mlp(32), "base must be a model, .* not a str", base="gpt2")
    unchanged(mlp(32), "relative to no base: leave base_width= out", scheme="u-mup", base_width=8)
    unchanged(mlp(32), "only a base model tells: give base=", base_width=8, recipe="he")


def test_arguments_that_cannot_be_meant() -> None:
    unchanged(mlp(32), "multipliers must be 'forward' or 'absorbed', got 'absorb'", base_width=8, multipliers="absorb")
    unchanged(mlp(32), r"tuned must be a .*Tuned\(output=…\), got", base_width=8, tuned={"output": 2.0})
    unchanged(mlp(32), "base_width must be a whole number of at least 1, got '8'", base_width="8")
    unchanged(mlp(32), "base_depth must be a whole number of at least 1, got 0", base_width=8, base_depth=0)
    unchanged(mlp(32), "base_head_size goes with base_width=: a base= has its own", base=mlp(8), base_head_size=4)
    with pytest.raises(fanin.ArgumentError, match=r"Tuned\(attention=…\) must be a finite number, got nan"):
        fanin.parametrizations.Tuned(attention=float("nan"))


def test_models_that_do_not_fit_the_scheme() -> None:
    unchanged(
        mlp(32), "complete-p scales residual branches, and Sequential has none", scheme="complete-p", base_width=8
    )
    unchanged(
        nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.Tanh()),
        "no readout was found in Sequential: .* say headless=True",
        base_width=8,
    )
    deep = Decoder(16)
    deep.blocks.append(copy.deepcopy(deep.blocks[0]))
    unchanged(deep, "mup scales with the width alone, and blocks has 3 layers and in the base 2", base=Decoder(8))
    unchanged(Decoder(16), "the base is deeper than the model: blocks has 2 layers", scheme="complete-p", base=deep)
    unchanged(mlp(32), "unknown parametrization 'mub'; did you mean 'mup'", fanin.UnknownNameError, scheme="mub")
    with pytest.raises(fanin.ArgumentError, match=r"alpha is from 0.5 to 1, got 0.2"):
        complete_p(0.2)
    with pytest.raises(fanin.ArgumentError, match="takes a module or a captured model, not a str"):
        fanin.parametrize("gpt2", base_width=8)


def test_a_backbone_without_readout_can_be_meant() -> None:
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.Tanh())
    assert fanin.parametrize(model, base_width=8, headless=True)["2.weight"].factors.adam == 0.25


def test_values_that_are_not_the_standard_ones() -> None:
    trained = mlp(64)
    with torch.no_grad():
        trained[2].weight.mul_(3)
        trained[4].weight.mul_(3)
    unchanged(trained, "4.weight has values of standard deviation .* and its reset code draws", base_width=16)
    fanin.parametrize(trained, base_width=16, values="keep")
    assert float(trained[4].weight.detach().std()) > 0.15

    class Own(nn.Module):
        def __init__(self, width: int = 32) -> None:
            super().__init__()
            self.first = nn.Parameter(torch.randn(width, 4))
            self.head = nn.Linear(width, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(x @ self.first.T)

    unchanged(Own(), "Own cannot be parametrized: .* pass inputs= to trace it", base_width=8)
    seen = {"inputs": torch.randn(2, 4)}
    message = "nobody knows how the values of first depend on the width: capture the model"
    unchanged(Own(), message, base_width=8, **seen)
    assert fanin.parametrize(fanin.capture(Own), base=lambda: Own(8), **seen)["first"].std == 1.0
    unchanged(mlp(32), "values must be 'auto', 'draw', 'rescale' or 'keep'", base_width=8, values="old")


def test_multipliers_without_a_place() -> None:
    class Tied(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.table, self.mix = nn.Embedding(16, width), nn.Linear(width, width)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.mix(self.table(x)) @ self.table.weight.T

    message = (
        "the readout multiplier 0.25 of table.weight has no place: the model itself computes it .* module of its own"
    )
    unchanged(Tied(32), message, base=lambda: Tied(8))
    encoder = nn.TransformerEncoderLayer(32, 2, 64, batch_first=True)
    model = nn.Sequential(nn.Linear(4, 32), encoder, nn.Linear(32, 2))
    small = nn.Sequential(nn.Linear(4, 8), nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), nn.Linear(8, 2))
    inputs = torch.randn(2, 3, 4)
    unchanged(model, "attention multiplier 0.5 of 1.self_attn.in_proj_weight has no place", base=small, inputs=inputs)
    with pytest.raises(fanin.ArgumentError, match=r"is the input table too .tied.: it cannot start at zero"):
        fanin.parametrize(_tied_linear(32), base=lambda: _tied_linear(8), zero_readout=True)


def _tied_linear(width: int) -> nn.Module:
    model = nn.Sequential(nn.Embedding(16, width), nn.Linear(width, width), nn.Linear(width, 16, bias=False))
    model[2].weight = model[0].weight
    return model


def test_groups() -> None:
    model = mlp(32)
    record = fanin.parametrize(model, base_width=8)
    with pytest.raises(fanin.UnknownNameError, match="unknown kind of optimizer 'lbfgs'"):
        record.parameter_groups(model, 0.1, optimizer="lbfgs")
    with pytest.raises(fanin.ArgumentError, match="lr must be a finite number of at least 0, got nan"):
        record.parameter_groups(model, float("nan"))
    unit = fanin.parametrize(fanin.capture(lambda: mlp(32)), "u-mup")
    with pytest.raises(fanin.ArgumentError, match="u-mup says how Adam's rates scale, not SGD's"):
        unit.parameter_groups(mlp(32), 0.1, optimizer="sgd")
    model.append(nn.Linear(3, 3))
    with pytest.raises(fanin.ArgumentError, match=r"knows nothing of 5.weight, 5.bias"):
        record.parameter_groups(model, 0.1)


def test_records_that_cannot_be_read(tmp_path: Any) -> None:
    for text in ("", "[]", "{}", '{"fanin_parametrization": 1}', "null"):
        with pytest.raises(fanin.ArgumentError, match="not the JSON of a parametrization"):
            Parametrized.from_json(text)
    with pytest.raises(fanin.ArgumentError, match="of version 9, this fanin reads 1"):
        Parametrized.from_json('{"fanin_parametrization": 9}')
    with pytest.raises(fanin.WeightsError, match=r"nowhere.json: cannot be read"):
        Parametrized.load(tmp_path / "nowhere.json")
    record = fanin.parametrize(mlp(32), base_width=8)
    other = nn.Sequential(nn.Linear(2, 2))
    with pytest.raises(fanin.ArgumentError, match="Sequential has no module '4', whose input the record multiplies"):
        attach(other, record)
    assert fanin.parametrizations.record_of(other) is None
