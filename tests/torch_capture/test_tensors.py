"""stored_tensors: every parameter and buffer once, in the order of registration."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fanin.errors import PlanError
from fanin.torch.tensors import stored_tensors


def names(model):
    return [(item.name, item.kind, item.aliases, item.persistent) for item in stored_tensors(model)]


def test_parameters_then_buffers_of_each_module():
    model = nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 3))
    assert [item.name for item in stored_tensors(model)] == [
        "0.weight", "0.bias", "0.running_mean", "0.running_var", "0.num_batches_tracked", "1.weight", "1.bias",
    ]  # fmt: skip


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_ties_are_aliases(device):
    model = nn.Module()
    model.a = nn.Linear(2, 2, device=device)
    model.b = nn.Linear(2, 2, bias=False, device=device)
    model.b.weight = model.a.weight
    model.again = model.a
    model.register_buffer("same", model.a.bias.detach())
    model.register_buffer("row", model.a.weight.detach()[0])
    model.register_buffer("flat", model.a.weight.detach().view(-1))
    model.register_buffer("empty", None)
    assert names(model) == [
        ("same", "buffer", ("a.bias", "again.bias"), True),
        ("row", "buffer", (), True),
        ("flat", "buffer", (), True),
        ("a.weight", "parameter", ("b.weight", "again.weight"), True),
    ]


def test_persistence():
    model = nn.Module()
    model.register_buffer("gone", torch.zeros(2), persistent=False)
    model.register_buffer("kept", torch.zeros(0))
    assert names(model) == [("gone", "buffer", (), False), ("kept", "buffer", (), True)]


def test_views_of_different_dtype_or_stride_are_different():
    model, base = nn.Module(), torch.zeros(4, 4)
    model.register_buffer("a", base)
    model.register_buffer("b", base.t())
    model.register_buffer("c", base.view(torch.int32))
    assert len(stored_tensors(model)) == 3


def test_lazy_parameters_are_refused():
    with pytest.raises(PlanError, match="'weight' is a lazy tensor without a shape yet: run the model once on a batch"):
        stored_tensors(nn.LazyLinear(3))
