"""Lookup tables with sparse gradients are measured as those with dense ones."""

import pytest
import torch
from torch import nn

from fanin.checking import check
from fanin.torch.probe import probe

IDS = torch.arange(40).reshape(8, 5)


def model(table, *, sparse):
    torch.manual_seed(0)
    return nn.Sequential(table(50, 16, sparse=sparse), nn.Linear(16, 4))


@pytest.mark.parametrize("table", [nn.Embedding, nn.EmbeddingBag])
def test_the_gradient_is_the_same(table):
    dense, sparse = (probe(model(table, sparse=sparse), IDS).parameters["0.weight"] for sparse in (False, True))
    assert sparse.gradient == dense.gradient
    assert sparse.gradient.count == 50 * 16
    assert check(model(table, sparse=True), IDS).verdict == "healthy"
