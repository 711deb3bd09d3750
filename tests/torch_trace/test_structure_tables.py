"""Tables: positions by constant indices and running counts, embeddings by what stands in the input."""

import pytest
import torch
from torch import nn

from fanin.graph import role
from fanin.torch.trace import trace


class Looked(nn.Module):
    """Tokens, and a table of 16 rows looked up by what `chosen` makes of the ids [2, 8]."""

    def __init__(self, chosen, rows=16):
        super().__init__()
        self.tokens, self.table, self.chosen = nn.Embedding(16, 4), nn.Embedding(rows, 4), chosen
        self.register_buffer("places", torch.arange(8)[None], persistent=False)
        self.register_buffer("kinds", torch.zeros(1, 8, dtype=torch.long), persistent=False)

    def forward(self, ids):
        return self.tokens(ids) + self.chosen(self, ids)


def counted(ids):
    mask = ids.ne(1).long()
    return mask.cumsum(1) * mask + 1


def by_reduced(m, ids):
    """Rows chosen by numbers, not by ids."""
    return m.table(m.tokens(ids).argmax(-1))


POSITIONS = {
    "constant indices": lambda m, ids: m.table(torch.arange(8)),
    "of every sequence": lambda m, ids: m.table(torch.arange(8).expand(2, 8)),
    "a buffer": lambda m, ids: m.table(m.places[:, : ids.shape[1]]),
    "counts of tokens": lambda m, ids: m.table(counted(ids)),
    "counts, shifted": lambda m, ids: m.table(counted(ids).clamp(max=7) + 2),
    "index": lambda m, ids: m.table.weight[torch.arange(8).flip(0)],
    "evenly spaced": lambda m, ids: m.table.weight[torch.arange(0, 16, 2)],
    "index_select": lambda m, ids: m.table.weight.index_select(0, torch.arange(8)),
    "a slice": lambda m, ids: m.table.weight[:8],
}
EMBEDDINGS = {
    "ids": lambda m, ids: m.table(ids),
    "computed from ids": lambda m, ids: m.table(torch.where(ids > 3, ids - 3, 0)),
    "indices added to ids": lambda m, ids: m.table(ids + torch.arange(8)),
    "index": lambda m, ids: m.table.weight[ids],
    "index_select": lambda m, ids: m.table.weight.index_select(0, ids.flatten()).view(2, 8, 4),
    "both": lambda m, ids: m.table(ids) + m.table(torch.arange(8)),
    "numbers": by_reduced,
}


@pytest.mark.parametrize("way", POSITIONS)
def test_tables_of_positions(way):
    graph = trace(Looked(POSITIONS[way]), torch.arange(16).view(2, 8))
    assert role("parameter", graph.of("tokens.weight")) == "embedding"
    assert role("parameter", graph.of("table.weight")) == "position"


@pytest.mark.parametrize("way", EMBEDDINGS)
def test_tables_of_what_stands_there(way):
    graph = trace(Looked(EMBEDDINGS[way]), torch.arange(16).view(2, 8))
    assert {role("parameter", graph.of(f"{name}.weight")) for name in ("tokens", "table")} == {"embedding"}


def test_a_table_with_fewer_rows_than_places_tells_no_positions():
    """BERT's token types: without ids the first row everywhere."""
    graph = trace(Looked(lambda m, ids: m.table(m.kinds), rows=2), torch.arange(16).view(2, 8))
    assert role("parameter", graph.of("table.weight")) == "embedding"


def test_what_is_an_index_of_one_model_is_none_of_the_next():
    ids = torch.arange(16).view(2, 8)
    roles = [
        role("parameter", trace(Looked(way), ids).of("table.weight"))
        for way in (EMBEDDINGS["ids"], POSITIONS["a buffer"])
    ]
    assert roles == ["embedding", "position"]


class PerHead(nn.Module):
    """A vector for each head added to queries, and rows for each position."""

    def __init__(self, per_head):
        super().__init__()
        self.project, self.per_head = nn.Linear(8, 8, bias=False), per_head
        self.added = nn.Parameter(torch.zeros(2, 4) if per_head else torch.zeros(5, 8))

    def forward(self, x):
        y = self.project(x)
        return torch.tanh(y.view(2, 5, 2, 4) + self.added if self.per_head else y + self.added)


@pytest.mark.parametrize(("per_head", "expected"), [(True, "bias"), (False, "position")])
def test_a_vector_for_each_output_is_a_bias_however_it_is_shaped(per_head, expected):
    graph = trace(PerHead(per_head), torch.zeros(2, 5, 8))
    assert role("parameter", graph.of("added")) == expected
    assert graph.of("added")[0].partner == ("project.weight" if per_head else "")
