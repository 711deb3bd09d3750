"""Models of users: blocks with skips, shared layers, functions, buffers, states, several inputs and outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from fanin.errors import ArgumentError
from fanin.models.architecture import Architecture, describe

Kept = Callable[[nn.Module, Any], Architecture]


class Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.gain = nn.Parameter(torch.rand(channels, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.relu(x + self.gain * self.conv2(self.relu(self.conv1(x))) * 0.5)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([[[1.0]], [[2.0]], [[3.0]]]))
        self.stem = nn.Conv2d(3, 8, 3)
        self.blocks = nn.ModuleList(Block(8) for _ in range(2))
        self.head = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem((x - self.mean) / 3.0)
        for block in self.blocks:
            x = block(x)
        x = F.adaptive_avg_pool2d(F.dropout(x, 0.1, self.training), 1)
        return self.head(x.view(x.size(0), -1))


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(50, 16), nn.Embedding(32, 16)
        self.attn = nn.MultiheadAttention(16, 2, batch_first=True)
        self.ln, self.fc = nn.LayerNorm(16), nn.Linear(16, 16)
        self.head = nn.Linear(16, 50, bias=False)
        self.head.weight = self.wte.weight

    def forward(self, tokens: torch.Tensor) -> tuple[torch.Tensor, ...]:
        n, steps = tokens.shape
        x = self.wte(tokens) + self.wpe(torch.arange(steps, device=tokens.device))
        h = self.ln(x)
        x = x + self.attn(h, h, h, need_weights=False)[0]
        x = x + self.fc(self.fc(x))
        q = x.view(n, steps, 2, 8).transpose(1, 2)
        mixed = F.scaled_dot_product_attention(q, q, q, is_causal=True).transpose(1, 2).reshape(n, steps, -1)
        first, second = mixed.chunk(2, dim=-1)
        return self.head(torch.cat([second, first], dim=-1)), x[:, -1], x.mean(dim=1)


class States(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(5, 6, 2, bidirectional=True)
        self.block = nn.TransformerEncoderLayer(12, 3, 24, 0.0, activation="gelu", norm_first=True)
        self.gru, self.decoder = nn.GRU(12, 4, batch_first=True), nn.LSTM(4, 6, 2, batch_first=True)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, ...]:
        out, _ = self.lstm(x)
        steps, state = self.gru(self.block(out))
        first, (hidden, cell) = self.decoder(steps)
        _, last = self.decoder(steps, (hidden, cell))
        return first, state[-1], last[1], y * 2 - 1, 1 - y, 3 / y, y**2, y[None, ..., 0].squeeze(0)


class TiedPositions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, 1, 4))
        self.places = nn.Parameter(torch.randn(1, 10, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], dim=1)
        return x + self.places[:, : x.shape[1]]


def test_blocks_with_skips_gains_buffers_and_functions(kept: Kept) -> None:
    made = kept(Net(), torch.randn(3, 3, 12, 12))
    assert [layer.type for layer in made.layers][:3] == ["buffer", "subtract", "divide"]
    assert {layer.type for layer in made.layers} >= {"parameter", "multiply", "scale", "add", "dropout", "reshape"}


def test_tied_and_shared_layers_keep_being_one(kept: Kept) -> None:
    made = kept(Tied(), torch.randint(50, (3, 8)))
    layers = {layer.name: layer for layer in made.layers}
    assert layers["head"].ties == {"weight": "wte.weight"}
    assert layers["fc_2"].type == "again"
    assert layers["fc_2"].options == {"layer": "fc"}
    assert layers["concatenate"].inputs == ("item_2", "item")
    built = made.build()
    assert built.get_parameter("head.weight") is built.get_parameter("wte.weight")


def test_states_of_recurrent_layers_go_where_they_went(kept: Kept) -> None:
    made = kept(States(), (torch.randn(3, 9, 5), torch.rand(3, 2) + 1))
    layers = {layer.name: layer for layer in made.layers}
    assert layers["lstm"].options["batch_first"] is False
    assert layers["decoder_2"].options["take"] == "cell"
    assert list(made.inputs) == ["x", "y"]


def test_learned_tokens_and_positions_are_parameters(kept: Kept) -> None:
    made = kept(TiedPositions(), torch.randn(3, 6, 4))
    assert [layer.name for layer in made.layers if layer.type == "parameter"] == ["token", "places"]


def test_the_batch_is_free(kept: Kept) -> None:
    built = kept(TiedPositions(), torch.randn(3, 6, 4)).build()
    assert built(torch.zeros(11, 6, 4)).shape == (11, 7, 4)


class Merged(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, steps, width = x.shape
        return self.fc(x.reshape(n * steps, width)).view(n, steps, 6)


def test_samples_and_steps_in_one_dimension(kept: Kept) -> None:
    made = kept(Merged(), torch.randn(3, 5, 4))
    assert [layer.options for layer in made.layers] == [{"shape": (-1, 4)}, {"out": 6}, {"shape": (-1, 5, 6)}]
    assert made.build()(torch.zeros(7, 5, 4)).shape == (7, 5, 6)


def test_describing_leaves_the_model_and_the_random_state_alone() -> None:
    model = Tied().train()
    vars_before = {name: set(vars(module)) for name, module in model.named_modules()}
    state = torch.get_rng_state()
    describe(model, torch.randint(50, (3, 8), generator=torch.Generator().manual_seed(0)))
    assert torch.equal(state, torch.get_rng_state())
    assert model.training
    assert {name: set(vars(module)) for name, module in model.named_modules()} == vars_before


class Branching(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.sum() > 0 else -x


class Sorting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(4, 4))
        self.sorter = nn.ModuleDict({"a": Sorter()})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.sorter["a"](self.inner(x))


class Sorter(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.sort(dim=-1)[0]


class Unused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used, self.idle = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.used(x)


class Named(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"logits": self.fc(x)}


class Reading(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * x.shape[0]


REFUSED = {
    "values": (Branching(), "Branching cannot be described: its pass cannot be followed: it does one thing or another"),
    "function": (Sorting(), "the module 'sorter.a' calls sort in a way that descriptions do not have"),
    "unused": (Unused(), "Unused cannot be described: its pass does not tell of 'idle.weight'"),
    "mapping": (Named(), "Named returns dict: descriptions return tensors or tuples of them"),
    "batch": (Reading(), "Reading calls mul in a way that descriptions do not have"),
    "layer": (
        nn.Sequential(nn.Linear(4, 4), nn.CosineSimilarity()),
        "layer '1' is a CosineSimilarity, which descriptions do not have",
    ),
    "size": (nn.Sequential(nn.Linear(5, 4)), "its pass cannot be followed: mat1 and mat2|in the module '0'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_described_is_named(name: str) -> None:
    model, words = REFUSED[name]
    with pytest.raises(ArgumentError, match=words):
        describe(model, torch.zeros(2, 4))


def test_describe_takes_modules_only() -> None:
    with pytest.raises(ArgumentError, match=r"describe takes a torch\.nn\.Module, got function"):
        describe(describe, torch.zeros(2))  # type: ignore[arg-type]
