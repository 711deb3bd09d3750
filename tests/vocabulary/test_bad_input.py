"""What cannot be extended is refused before anything changes."""

from __future__ import annotations

from pathlib import Path
from runpy import run_path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Partial, Shard, distribute_tensor

import fanin
from fanin.vocabulary import extend_vocabulary

M = SimpleNamespace(**run_path(str(Path(__file__).with_name("models.py"))))


def snapshot(model: nn.Module) -> dict[str, Any]:
    tensors = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    sizes = {
        f"{name}.{key}": value
        for name, module in model.named_modules()
        for key, value in vars(module).items()
        if type(value) is int
    }
    return tensors | sizes


def assert_untouched(model: nn.Module, before: dict[str, Any]) -> None:
    after = snapshot(model)
    assert after.keys() == before.keys()
    for name, value in before.items():
        same = torch.equal(after[name], value) if isinstance(value, torch.Tensor) else after[name] == value
        assert same, name


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "pass either tokens .* or size"),
        ({"tokens": 3, "size": 100}, "pass either tokens .* or size"),
        ({"tokens": 0}, "no new tokens: got 0"),
        ({"tokens": -2}, "no new tokens: got -2"),
        ({"tokens": []}, r"no new tokens: got \[\]"),
        ({"tokens": True}, "new tokens are a number, strings, or a mapping to old tokens, not True"),
        ({"tokens": "<bot>"}, "new tokens are a number, strings, or a mapping to old tokens, not '<bot>'"),
        ({"tokens": ["a", ""]}, "a new token is a string that is not empty, got ''"),
        ({"tokens": ["a", 3]}, "a new token is a string that is not empty, got 3"),
        ({"tokens": ["a", "b", "a"]}, "the new token 'a' stands twice"),
        (
            {"tokens": 3, "method": "random"},
            "method must be one of mean, mean-cov, subtoken, copy, normal, got 'random'",
        ),
        ({"tokens": 3, "method": "subtoken"}, "method='subtoken' needs to know which old tokens"),
        ({"tokens": ["a"], "method": "copy"}, "method='copy' needs to know which old tokens"),
        ({"tokens": {"a": "b"}, "method": "copy"}, "'a' is to be made of 'b': pass tokenizer="),
        ({"tokens": {"a": [3.5]}, "method": "subtoken"}, "expected ids, or a string with tokenizer="),
        ({"tokens": {"a": []}, "method": "subtoken"}, r"'a' must be made of old tokens, got ids \[\]"),
        ({"tokens": {"a": [3, 4]}, "method": "copy"}, r"'a' must be made of one old token, got ids \[3, 4\]"),
        ({"tokens": {"a": [97]}, "method": "subtoken"}, "made of id 97, but old ids go from 0 to 96"),
        ({"tokens": {"a": [-1]}, "method": "subtoken"}, "made of id -1, but old ids go from 0 to 96"),
        ({"size": 97}, "size=97 leaves no room for new tokens: 97 rows are trained already"),
        ({"size": 2.5}, "size=2.5 leaves no room"),
        ({"tokens": 3, "trained": 0}, "trained= must tell some of the table's 97 rows"),
        ({"tokens": 3, "trained": 98}, "trained= must tell some of the table's 97 rows"),
        ({"tokens": 3, "trained": [-1, 3]}, "trained= must tell some of the table's 97 rows"),
        ({"tokens": 3, "trained": torch.zeros(97, dtype=torch.bool)}, "trained= must tell some"),
        ({"tokens": 3, "trained": [0.5]}, "trained= must tell some"),
        ({"tokens": 3, "trained": "all"}, "trained= must tell some"),
        ({"tokens": 3, "trained": torch.ones(97, 2, dtype=torch.bool)}, "trained= must tell some"),
        ({"tokens": {"a": 1.5}, "method": "copy"}, "expected ids, or a string with tokenizer="),
        ({"tokens": 3, "tables": "body"}, "unknown lookup table 'body'"),
        ({"tokens": 3, "pad_to_multiple_of": 0}, "pad_to_multiple_of must be a positive integer, got 0"),
        ({"tokens": 3, "pad_to_multiple_of": 1.5}, "pad_to_multiple_of must be a positive integer, got 1.5"),
        ({"tokens": 3, "scale": "small"}, "scale must be a finite number from 0 on, got 'small'"),
        ({"tokens": ["<a>"], "tokenizer": "gpt2"}, "tokenizer must be one of transformers or tokenizers, got 'gpt2'"),
        ({"tokens": 3, "scale": -1.0}, "scale must be a finite number from 0 on, got -1.0"),
        ({"tokens": 3, "scale": float("nan")}, "scale must be a finite number from 0 on, got nan"),
        ({"tokens": 3, "seed": -1}, "seed must be from 0"),
        ({"tokens": 3, "seed": 2**64}, "seed must be from 0"),
        ({"tokens": 3, "tables": ["body"]}, "unknown lookup table 'body'"),
        ({"tokens": 3, "tables": ["positions"]}, "unknown lookup table 'positions'"),
    ],
)
def test_bad_arguments_are_refused_and_nothing_changes(arguments: dict[str, Any], message: str) -> None:
    model = M.Plain()
    before = snapshot(model)
    with pytest.raises((fanin.ArgumentError, fanin.UnknownNameError), match=message):
        extend_vocabulary(model, **arguments)
    assert_untouched(model, before)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("method", ["mean", "mean-cov", "subtoken", "copy", "normal"])
def test_a_table_that_is_not_finite_is_named_with_its_row(method: str, value: float) -> None:
    model = M.Plain()
    with torch.no_grad():
        model.head.weight[13, 2] = value
    before = {name: parameter.shape for name, parameter in model.named_parameters()}
    tokens = {"a": [13]} if method in ("subtoken", "copy") else 2
    with pytest.raises(fanin.DataError, match=r"'head.weight': row 13 holds NaN or infinity"):
        extend_vocabulary(model, tokens, method=method)
    assert {name: parameter.shape for name, parameter in model.named_parameters()} == before


class Masked(nn.Module):
    """Something beside the head has the vocabulary's size, and nothing tells."""

    def __init__(self) -> None:
        super().__init__()
        self.vocab_size = M.V
        self.tokens, self.head = nn.Embedding(M.V, 8), nn.Linear(8, M.V)
        self.register_buffer("allowed", torch.ones(M.V))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.tokens(ids)) + self.allowed


def test_a_forgotten_size_is_found_by_running_and_all_is_taken_back() -> None:
    model = Masked()
    model.head(torch.ones(1, 8)).sum().backward()
    before, gradient = snapshot(model), model.head.weight.grad
    ids = M.text()
    with pytest.raises(fanin.PlanError, match=r"with the new sizes .* a part of the model has the old size"):
        extend_vocabulary(model, 3, inputs=ids)
    with pytest.raises(fanin.PlanError, match="a part of the model has the old size"):
        extend_vocabulary(model, 3)
    assert_untouched(model, before)
    assert model.head.weight.grad is gradient
    assert model(ids).shape == (*ids.shape, M.V)


def test_models_without_a_vocabulary_are_refused() -> None:
    with pytest.raises(fanin.ArgumentError, match="Sequential looks no tokens up"):
        extend_vocabulary(nn.Sequential(nn.Linear(3, 2)), 3)
    config = M.transformers.ViTConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=2, image_size=32, patch_size=8
    )
    with pytest.raises(fanin.ArgumentError, match="looks no tokens up"):
        extend_vocabulary(M.transformers.ViTModel(config), 3)
    with pytest.raises(fanin.ArgumentError, match="changes a module, got str"):
        extend_vocabulary("gpt2", 3)


class TwoTables(nn.Module):
    """Words and users, and a head for neither."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.users, self.head = nn.Embedding(50, 8), nn.Embedding(20, 8), nn.Linear(8, 1)

    def forward(self, words: torch.Tensor, users: torch.Tensor) -> torch.Tensor:
        return self.head(self.words(words) + self.users(users))


def test_of_several_tables_the_user_names_one() -> None:
    ids = (torch.zeros(1, 3, dtype=torch.long), torch.zeros(1, 3, dtype=torch.long))
    model = TwoTables()
    with pytest.raises(fanin.ArgumentError, match=r"words.weight \(50 rows\), users.weight \(20 rows\): name it with"):
        extend_vocabulary(model, 3, inputs=ids)
    with pytest.raises(fanin.ArgumentError, match=r"different numbers of rows \(words.weight 50, users.weight 20\)"):
        extend_vocabulary(model, 3, inputs=ids, tables=["words", "users"])
    users = model.users.weight.clone()
    done = extend_vocabulary(model, 3, inputs=ids, tables=["words"])
    assert [table.name for table in done.tables] == ["words.weight"]
    assert (model.words.num_embeddings, model.users.num_embeddings) == (53, 20)
    assert torch.equal(model.users.weight, users)


def test_an_unknown_law_is_refused_for_normal_alone() -> None:
    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Parameter(torch.randn(30, 8))

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return nn.functional.embedding(ids, self.table) @ self.table.T

    model, ids = Bare(), M.text(below=30)
    with pytest.raises(
        fanin.PlanError, match=r"'table': the model's own law cannot draw new rows .*choose method='mean'"
    ):
        extend_vocabulary(model, 3, method="normal", inputs=ids)
    assert model.table.shape == (30, 8)
    done = extend_vocabulary(model, 3, inputs=ids)
    assert model(ids).shape[-1] == 33
    assert done.tables[0].kind == "input and output"


def test_a_meta_model_and_integers_are_refused() -> None:
    with torch.device("meta"):
        model = M.gpt2()
    with pytest.raises(fanin.PlanError, match=r"'transformer.wte.weight' .*has no values .* load or materialize"):
        extend_vocabulary(model, 3)
    quantised = M.Plain()
    quantised.tokens.weight = nn.Parameter(torch.zeros(M.V, 16, dtype=torch.int8), requires_grad=False)
    with pytest.raises(fanin.PlanError, match=r"'tokens.weight' cannot change its size: it is of torch.int8"):
        extend_vocabulary(quantised, 3, tables=["tokens"])


def test_sharded_models_without_their_other_ranks_are_refused(world: Any) -> None:
    told = "is sharded over a fake process group, whose other ranks hold no values"
    with world(0, (2,)) as mesh:
        model = M.Plain()
        model.head.weight = nn.Parameter(distribute_tensor(model.head.weight.detach(), mesh, [Shard(0)]))
        shape = model.head.weight.to_local().shape
        with pytest.raises(fanin.PlanError, match=f"'head.weight' cannot change its size: it {told}"):
            extend_vocabulary(model, 3)
        assert model.head.weight.to_local().shape == shape
        assert model.tokens.weight.shape == (M.V, 16)
        sharded = M.gpt2()
        fully_shard(sharded, mesh=mesh)
        with pytest.raises(fanin.PlanError, match=told):
            extend_vocabulary(sharded, 3)


def test_models_whose_sizes_are_fixed_are_refused_with_what_to_do(world: Any) -> None:
    with world(0, (2,)) as mesh:
        wrapped = nn.parallel.DistributedDataParallel(M.Plain())
        with pytest.raises(fanin.PlanError, match="DistributedDataParallel, whose buckets have fixed sizes"):
            extend_vocabulary(wrapped, 3)
        part = M.Plain()
        part.head.weight = nn.Parameter(DTensor.from_local(part.head.weight.detach(), mesh, [Partial()]))
        with pytest.raises(fanin.PlanError, match=r"'head.weight' .* holds summands, not values: redistribute it to"):
            extend_vocabulary(part, 3)


def test_a_rank_outside_of_the_mesh_is_told_so(world: Any) -> None:
    with world(3, (2,), 4) as mesh:
        model = M.Plain()
        model.head.weight = nn.Parameter(distribute_tensor(model.head.weight.detach(), mesh, [Shard(0)]))
        with pytest.raises(fanin.PlanError, match="is sharded over ranks of which this is none: call this on those"):
            extend_vocabulary(model, 3)
