"""Low-rank adapters are told from their sum with the product that they adapt."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fanin.graph import role
from fanin.torch.trace import trace


class Adapted(nn.Module):
    def __init__(self, base, first, second, between=None, cast=False):
        super().__init__()
        self.base, self.first, self.second, self.dropout = base, first, second, nn.Dropout(0.1)
        self.between, self.cast = between, cast

    def forward(self, x):
        inner = self.first(self.dropout(x.double() if self.cast else x))
        inner = inner if self.between is None else self.between(inner)
        return self.base(x) + self.second(inner).to(x.dtype) * 2.0


def factors(inner, width=16, out=12):
    return nn.Linear(width, inner, bias=False), nn.Linear(inner, out, bias=False)


def roles(graph):
    names = dict.fromkeys(use.tensor for use in graph.uses if use.axes is not None)
    return {name: role("parameter", graph.of(name)) for name in names}


LAYERS = {
    "linear": (lambda: Adapted(nn.Linear(16, 12), *factors(2)), (5, 16)),
    "without bias": (lambda: Adapted(nn.Linear(16, 12, bias=False), *factors(2)), (5, 16)),
    "on sequences": (lambda: Adapted(nn.Linear(16, 12), *factors(2)), (5, 3, 16)),
    "in double precision": (
        lambda: Adapted(nn.Linear(16, 12), *(factor.double() for factor in factors(2)), cast=True),
        (5, 16),
    ),
    "convolution": (
        lambda: Adapted(nn.Conv1d(8, 8, 3, padding=1), nn.Conv1d(8, 2, 3, padding=1), nn.Conv1d(2, 8, 1)),
        (5, 8, 9),
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_factors(name):
    make, shape = LAYERS[name]
    found = roles(trace(make(), torch.zeros(shape)))
    assert (found["first.weight"], found["second.weight"]) == ("lora A", "lora B")
    assert found["base.weight"] not in ("lora A", "lora B")


def test_adapters_of_attention_leave_its_roles_to_what_they_adapt():
    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.queries, self.keys, self.values = (Adapted(nn.Linear(16, 16), *factors(2, 16, 16)) for _ in range(3))

        def forward(self, x):
            heads = [layer(x).unflatten(-1, (4, 4)).transpose(1, 2) for layer in (self.queries, self.keys, self.values)]
            return F.scaled_dot_product_attention(*heads)

    found = roles(trace(Attention(), torch.zeros(2, 5, 16)))
    for name, expected in (("queries", "query"), ("keys", "key"), ("values", "value")):
        assert found[f"{name}.base.weight"] == f"attention {expected}"
        assert (found[f"{name}.first.weight"], found[f"{name}.second.weight"]) == ("lora A", "lora B")


class OtherInput(nn.Module):
    def __init__(self):
        super().__init__()
        self.base, (self.first, self.second) = nn.Linear(16, 12), factors(2)

    def forward(self, x):
        return self.base(x) + self.second(self.first(x.flip(0)))


NOT = {
    "a nonlinearity between": lambda: Adapted(nn.Linear(16, 12), *factors(2), between=torch.tanh),
    "no low rank": lambda: Adapted(nn.Linear(16, 12), *factors(40)),
    "nothing to adapt": lambda: nn.Sequential(*factors(2)),
    "another input": OtherInput,
}


@pytest.mark.parametrize("name", NOT)
def test_what_is_no_adapter(name):
    found = roles(trace(NOT[name](), torch.zeros(5, 16)))
    assert not {"lora A", "lora B"} & set(found.values())
