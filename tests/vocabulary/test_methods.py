"""What each method writes into the new rows."""

from __future__ import annotations

from math import log, sqrt
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import fanin
from fanin.initializers import Normal
from fanin.random.stream import Region, Stream
from fanin.torch.fill import fill
from fanin.vocabulary import extend_vocabulary

M = SimpleNamespace(**run_path(str(Path(__file__).with_name("models.py"))))


def table(rows: int, width: int, shift: float = 0.5) -> nn.Module:
    """One table whose rows have a mean and correlated entries."""
    generator = torch.Generator().manual_seed(5)
    model = nn.Sequential(nn.Embedding(rows, width))
    mixed = torch.randn(rows, width, generator=generator) @ torch.randn(width, width, generator=generator)
    with torch.no_grad():
        model[0].weight.copy_(mixed / sqrt(width) + shift)
    return model


@pytest.mark.parametrize(("rows", "width"), [(40, 64), (500, 24)])
def test_mean_cov_draws_from_the_scaled_covariance_even_with_fewer_rows_than_columns(rows: int, width: int) -> None:
    model, count = table(rows, width), 20_000
    old = model[0].weight.detach().double().clone()
    done = extend_vocabulary(model, count, method="mean-cov", scale=0.25, seed=7)
    new = model[0].weight.detach().double()[rows:]
    assert done.tables[0].distinct == count
    centred = old - old.mean(0)
    values, directions = torch.linalg.eigh(0.25 * centred.T @ centred / rows)
    seen = (new - old.mean(0)) @ directions
    live = values > 1e-9
    assert int(live.sum()) == min(rows - 1, width)
    along = seen[:, live] / values[live].sqrt()
    assert float(along.mean(0).abs().max()) < 5 / sqrt(count)
    covariance = along.T @ along / count
    spread = torch.full_like(covariance, 1 / sqrt(count)).fill_diagonal_(sqrt(2 / count))
    assert float(((covariance - torch.eye(len(covariance))) / spread).abs().max()) < 5.5
    assert abs(float(covariance.diagonal().mean()) - 1) < 5 * sqrt(2 / along.numel())
    assert float(seen[:, ~live].abs().max() if (~live).any() else 0.0) < 1e-4


def test_transformers_gives_identical_rows_where_the_vocabulary_is_smaller_than_the_width() -> None:
    """Its defect, and ours to avoid: METHODS 4, row 5."""
    theirs, ours = M.gpt2(30, n_embd=48), M.gpt2(30, n_embd=48)
    theirs.resize_token_embeddings(36, mean_resizing=True)
    assert len(theirs.transformer.wte.weight[30:].unique(dim=0)) == 1
    done = extend_vocabulary(ours, 6, method="mean-cov")
    assert len(ours.transformer.wte.weight[30:].unique(dim=0)) == 6
    assert done.tables[0].distinct == 6


def test_the_default_scale_spreads_rows_by_the_root_of_1e_5() -> None:
    model = table(300, 32)
    old = model[0].weight.detach().clone()
    extend_vocabulary(model, 2000, method="mean-cov")
    new = model[0].weight.detach()[300:]
    ratio = float(new.var(0, unbiased=False).sum().sqrt() / old.var(0, unbiased=False).sum().sqrt())
    assert ratio == pytest.approx(sqrt(1e-5), rel=0.05)


def test_mean_cov_is_the_formula_on_the_stream_of_the_name() -> None:
    model = table(20, 6)
    old = model[0].weight.detach().double().clone()
    extend_vocabulary(model, 3, method="mean-cov", scale=0.1, seed=9)
    z = torch.empty(3, 20)
    fill(z, Normal(), Stream.named(9, "0.weight: new tokens"))
    expected = old.mean(0) + sqrt(0.1 / 20) * z.double() @ (old - old.mean(0))
    torch.testing.assert_close(model[0].weight[20:].double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("method", ["mean-cov", "normal"])
def test_a_row_depends_on_no_later_one_and_on_the_seed(method: str) -> None:
    rows = {}
    for count, seed in ((3, 0), (9, 0), (3, 1)):
        model = M.gpt2()
        with torch.no_grad():
            fanin.initialize(model, "gpt2", seed=5)
        extend_vocabulary(model, count, method=method, seed=seed)
        rows[count, seed] = model.transformer.wte.weight[M.V : M.V + 3].detach()
    assert float((rows[3, 0] - rows[9, 0]).abs().max()) < 1e-9
    assert not torch.equal(rows[3, 0], rows[3, 1])


def test_many_tokens_are_drawn_part_by_part_with_the_same_values() -> None:
    few, many = table(3000, 4), table(3000, 4)
    extend_vocabulary(few, 5, method="mean-cov", scale=1.0)
    done = extend_vocabulary(many, 3000, method="mean-cov", scale=1.0)  # nine million numbers: several parts
    assert done.tables[0].distinct == 3000
    torch.testing.assert_close(many[0].weight[3000:3005], few[0].weight[3000:], rtol=1e-5, atol=1e-6)
    covariance = torch.cov(many[0].weight[3000:].T.detach().double(), correction=0)
    expected = torch.cov(many[0].weight[:3000].T.detach().double(), correction=0)
    assert float((covariance - expected).abs().max() / expected.diagonal().max()) < 5 * sqrt(2 / 3000)


def test_untied_tables_are_drawn_apart() -> None:
    model = M.llama(tied=False)
    extend_vocabulary(model, 4, method="normal", seed=1)
    assert not torch.equal(model.model.embed_tokens.weight[M.V :], model.lm_head.weight[M.V :])


def test_normal_is_the_models_own_law_as_a_larger_table_would_have_it() -> None:
    small, large = M.gpt2(), M.gpt2(M.V + 7)
    extend_vocabulary(small, 7, method="normal", seed=3)
    whole = torch.empty(M.V + 7, 32)
    fill(whole, fanin.plan(large)["transformer.wte.weight"].initializer, Stream.named(3, "transformer.wte.weight"))
    assert torch.equal(small.transformer.wte.weight[M.V :], whole[M.V :])


def test_normal_leaves_the_padding_law_of_a_table_out() -> None:
    model = M.Plain()
    done = extend_vocabulary(model, 400, method="normal")
    new = model.tokens.weight[M.V :].detach()
    assert done.kl_bound is None
    assert float(new.std()) == pytest.approx(1.0, abs=5 / sqrt(2 * new.numel()))
    region = Region((M.V + 400, 16), (M.V, 0), (400, 16))
    expected = torch.empty(400, 16)
    fill(expected, Normal(), Stream.named(0, "tokens.weight"), region=region)
    assert torch.equal(new, expected)


def test_subtoken_is_the_mean_of_the_pieces_in_every_table() -> None:
    model = M.Plain()
    old = {name: value.detach().double() for name, value in model.named_parameters()}
    done = extend_vocabulary(model, {"new": [3, 5, 5], "other": [7]}, method="subtoken")
    for name in ("tokens.weight", "head.weight", "head.bias"):
        value = model.get_parameter(name).detach()
        expected = torch.stack([old[name][[3, 5, 5]].mean(0), old[name][7]]).float()
        torch.testing.assert_close(value[M.V :], expected, rtol=1e-6, atol=1e-7)
    assert done.tokens == ("new", "other")
    assert done.kl_bound == pytest.approx(log(2))  # token 7 is copied whole


def test_the_bound_of_subtoken_holds_and_is_the_largest_share() -> None:
    torch.manual_seed(6)
    model = M.sharpened(M.gpt2())
    ids = M.text(8, 40)
    old = model(ids).logits.detach().double()
    pieces = {f"t{number}": [number, number + 1, 3] for number in range(10, 22)}
    done = extend_vocabulary(model, pieces, method="subtoken")
    new = model(ids).logits.detach().double()
    assert done.kl_bound == pytest.approx(log(1 + 12 / 3))
    kl = (old.softmax(-1) * (old.log_softmax(-1) - new.log_softmax(-1)[..., : M.V])).sum(-1)
    assert float(kl.max()) <= done.kl_bound + 1e-6


def test_copy_is_bit_equal() -> None:
    model = M.llama(tied=False)
    extend_vocabulary(model, {"<bot>": 9, "<user>": [4]}, method="copy")
    for weight in (model.model.embed_tokens.weight, model.lm_head.weight):
        assert torch.equal(weight[M.V :], weight[[9, 4]])


def test_the_mean_over_trained_rows_alone() -> None:
    model = table(64, 8)
    with torch.no_grad():
        model[0].weight[50:] = 100.0
    trained = model[0].weight[:50].detach().double().mean(0).float()
    kept = model[0].weight[60:].detach().clone()
    done = extend_vocabulary(model, 10, trained=50)
    assert (done.ids, done.after, done.trained) == (tuple(range(50, 60)), 64, 50)
    assert torch.equal(model[0].weight[50:60], trained.expand(10, -1))
    assert torch.equal(model[0].weight[60:], kept)
    assert "10 new tokens took rows that were there" in done.notes[1]


def test_new_tokens_take_unused_rows_first_and_then_new_ones() -> None:
    model = M.gpt2(104)
    with torch.no_grad():
        model.transformer.wte.weight[97:] = 0.0
    assert "the last 7 old rows of transformer.wte.weight are equal" in extend_vocabulary(M_padded(), 1).notes[0]
    done = extend_vocabulary(model, 9, trained=97, pad_to_multiple_of=8)
    assert (done.ids[0], done.ids[-1], done.after, done.padding) == (97, 105, 112, 6)
    weight = model.transformer.wte.weight.detach()
    torch.testing.assert_close(weight[97:], weight[:97].mean(0).expand(15, -1), rtol=1e-5, atol=1e-7)
    assert model.config.vocab_size == 112


def M_padded() -> nn.Module:  # noqa: N802
    model = M.gpt2(104)
    with torch.no_grad():
        model.transformer.wte.weight[97:] = 0.0
    return model


@pytest.mark.parametrize("trained", [[2, 3, 5, 7], torch.tensor([7, 5, 3, 2])])
def test_trained_rows_by_number(trained: object) -> None:
    model = table(20, 4)
    expected = model[0].weight[[2, 3, 5, 7]].detach().double().mean(0).float()
    done = extend_vocabulary(model, 2, trained=trained)
    assert done.ids == (8, 9)
    torch.testing.assert_close(model[0].weight[8], expected)


def test_trained_rows_by_mask() -> None:
    model = table(20, 4)
    mask = torch.arange(20) < 15
    assert extend_vocabulary(model, 2, trained=mask).ids == (15, 16)


def test_size_instead_of_tokens() -> None:
    model = table(20, 4)
    done = extend_vocabulary(model, size=25)
    assert (done.ids, len(model[0].weight)) == (tuple(range(20, 25)), 25)


@pytest.mark.parametrize("count", [torch.tensor(15), np.int64(15)])
def test_a_count_of_trained_rows_may_be_a_tensor_or_a_numpy_number(count: torch.Tensor) -> None:
    model = nn.Sequential(nn.Embedding(20, 4), nn.Linear(4, 20))
    done = extend_vocabulary(model, 2, trained=count)
    assert done.ids == (15, 16)
    assert done.trained == 15
