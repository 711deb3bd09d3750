"""Models as their authors start them: nothing to say above "info", and the same list as the audit's."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from fanin.checking import check
from fanin.errors import DataError

MODELS: dict[str, Callable[[], nn.Module]] = runpy.run_path(str(Path(__file__).parents[1] / "auditing" / "healthy.py"))[
    "MODELS"
]
INPUTS = {"Bilinear": tuple(torch.randn(2, 16, 16, generator=torch.Generator().manual_seed(0)))}
"""What cannot be made up: a module of two inputs does not say their shapes."""


def encoder() -> nn.Module:
    layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, norm_first=True)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)


class Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.value, self.gate, self.head = nn.Linear(32, 64), nn.Linear(32, 64), nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.value(x) * torch.sigmoid(self.gate(x)))


MORE: dict[str, Callable[[], nn.Module]] = {
    "pre-norm encoder": encoder,
    "gate": Gated,
    "LayerNorm": lambda: nn.Sequential(nn.Linear(32, 64), nn.LayerNorm(64), nn.GELU(), nn.Linear(64, 1)),
    "bag of tokens": lambda: nn.Sequential(nn.Embedding(50, 32), nn.Flatten(), nn.Linear(256, 10)),
}


def made(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make()


@pytest.mark.parametrize("name", [*MODELS, *MORE])
def test_nothing_is_found(name: str) -> None:
    report = check(made((MODELS | MORE)[name]), INPUTS.get(name))
    assert [str(finding) for finding in report.findings if finding.severity != "info"] == []
    assert report.verdict == "healthy"
    assert [layer.name for layer in report.layers if layer.verdict != "healthy"] == []
    assert (name in INPUTS) != any(note.startswith("inputs were made up: ") for note in report.notes)


def test_list_is_as_long_as_promised() -> None:
    assert len(MODELS) >= 30


@pytest.mark.parametrize("name", ["GPT-2", "convolutions", "LSTM"])
def test_thoroughly_at_a_learning_rate(name: str) -> None:
    report = check(made(MODELS[name]), thorough=True, lr=1e-3)
    assert [str(finding) for finding in report.findings if finding.severity != "info"] == []


def test_made_up_inputs_are_the_same_each_time() -> None:
    model = made(MODELS["GPT-2"])
    assert check(model).to_dict() == check(model).to_dict()


def test_the_seed_draws_other_inputs() -> None:
    model = nn.Sequential(nn.Linear(8, 4))
    seconds = {check(model, seed=seed).layers[0].measured.forward.second for seed in (0, 0, 1)}
    assert len(seconds) == 2


def test_nobody_can_tell_the_inputs() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3))

        def forward(self, what: Any) -> torch.Tensor:
            return self.weight * what["value"]

    with pytest.raises(DataError, match="no inputs were given, and none can be made up for Odd: "):
        check(Odd())
