"""The row of the padding token starts at zero under every recipe, as in the layers' own code."""

import pytest
import torch
from torch import nn

from fanin.plans.words import values
from fanin.torch.planning import initialize, plan
from fanin.torch.trace import trace

IDS = torch.arange(40).reshape(8, 5)
VARIANCE = ["he", "xavier", "lecun", "orthogonal"]


def zero_rows(table):
    return (table == 0).all(1).nonzero().flatten().tolist()


@pytest.mark.parametrize("recipe", [*VARIANCE, "native"])
@pytest.mark.parametrize(
    "layer",
    [
        lambda row: nn.Embedding(50, 64, padding_idx=row),
        lambda row: nn.EmbeddingBag(50, 64, padding_idx=row),
        lambda row: nn.EmbeddingBag(50, 64, mode="max", padding_idx=row),
    ],
)
@pytest.mark.parametrize(("row", "stored"), [(0, [0]), (3, [3]), (-1, [49]), (None, [])])
def test_only_the_padding_row_is_zero(recipe, layer, row, stored):
    model = nn.Sequential(layer(row))
    made = initialize(model, recipe, IDS, seed=3)
    assert zero_rows(model[0].weight) == stored
    others = [index for index in range(50) if index not in stored]
    error = 5 / (2 * len(others) * 64) ** 0.5
    assert model[0].weight[others].std().item() == pytest.approx(1.0, abs=error)
    assert made["0.weight"].std == pytest.approx((len(others) / 50) ** 0.5)


@pytest.mark.parametrize("recipe", VARIANCE)
def test_the_other_rows_have_the_bits_of_a_table_without_padding(recipe):
    padded, plain = nn.Sequential(nn.Embedding(50, 8, padding_idx=2)), nn.Sequential(nn.Embedding(50, 8))
    initialize(padded, recipe, IDS, seed=1)
    initialize(plain, recipe, IDS, seed=1)
    assert torch.equal(padded[0].weight[3:], plain[0].weight[3:])
    assert torch.equal(padded[0].weight[:2], plain[0].weight[:2])


def test_the_reason_and_the_table_say_so():
    made = plan(nn.Sequential(nn.Embedding(50, 8, padding_idx=0)), "he", IDS)
    assert made["0.weight"].why == "a lookup passes its rows on: unit variance out; row 0 is padding: 0"
    assert values(made["0.weight"]) == "normal + zeros"


def test_a_tied_head_keeps_its_scale_and_its_padding_row():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(50, 64, padding_idx=1)
            self.head = nn.Linear(64, 50, bias=False)
            self.head.weight = self.table.weight

        def forward(self, ids):
            return self.head(self.table(ids))

    model = Tied()
    made = initialize(model, "he", IDS, seed=2)
    assert zero_rows(model.table.weight) == [1]
    assert model.table.weight[2:].std().item() == pytest.approx(0.125, abs=5 * 0.125 / (2 * 48 * 64) ** 0.5)
    assert made["table.weight"].why.endswith("1/√64 gives logits of unit variance; row 1 is padding: 0")


def test_the_module_tells_where_the_pass_does_not_reach():
    class Failing(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(50, 8, padding_idx=4)

        def forward(self, ids):
            raise RuntimeError("no")

    assert [use.padding for use in trace(Failing()).of("table.weight")] == [4]


@pytest.mark.parametrize(
    "table", [lambda weight: weight[5:], lambda weight: weight.t(), lambda weight: weight.reshape(25, 100)]
)
def test_another_view_of_the_tensor_has_other_rows(table):
    class Viewing(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(50, 50))

        def forward(self, ids):
            return nn.functional.embedding(ids, table(self.weight), padding_idx=2)

    (use,) = trace(Viewing(), IDS % 20).uses
    assert (use.op, use.padding) == ("embedding", None)


def test_the_head_of_a_tied_transformers_model_does_not_draw_over_the_padding_row():
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.Gemma2Config(vocab_size=50, num_key_value_heads=1, head_dim=16, pad_token_id=3, **sizes)
    model = transformers.Gemma2ForCausalLM(config)
    assert model.lm_head.weight is model.model.embed_tokens.weight
    initialize(model, "native", seed=1)
    assert zero_rows(model.lm_head.weight) == [3]
