"""The output box is joined to what the tensors that a model returned were computed from, and to nothing else."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

HERE = importlib.util.spec_from_file_location("drawing_conftest", Path(__file__).with_name("conftest.py"))
assert HERE is not None
assert HERE.loader is not None
WORDS = importlib.util.module_from_spec(HERE)
HERE.loader.exec_module(WORDS)

Source = Callable[..., str]


class Two(nn.Module):
    """Two layers, and what is returned of them."""

    def __init__(self, returned: Callable[[Two, torch.Tensor], Any]) -> None:
        super().__init__()
        self.main, self.aux = nn.Linear(4, 3), nn.Linear(4, 2)
        self.table = nn.Embedding(5, 4)
        self.returned = returned

    def forward(self, x: torch.Tensor) -> Any:
        return self.returned(self, x)


def ends(text: str) -> list[str]:
    """What is joined to the output, once for each line."""
    names = {name: label.split(" | ")[0] for name, label in WORDS.boxes(text).items()}
    found = (line.strip().split(" ")[0:3:2] for line in text.splitlines() if " -> " in line)
    return sorted(names[source] for source, target in found if names[target] == "output")


def unused_last(net: Two, x: torch.Tensor) -> torch.Tensor:
    made = net.main(x)
    net.aux(x)
    return made


def overwritten(net: Two, x: torch.Tensor) -> torch.Tensor:
    made = net.main(x)
    made[:, :2] = net.aux(x)
    return made


SIGNALS: dict[str, tuple[Callable[[Two, torch.Tensor], Any], list[str]]] = {
    "what ran last is not returned": (unused_last, ["main"]),
    "a tuple": (lambda net, x: (net.main(x), net.aux(x)), ["aux", "main"]),
    "lists in a dict, with what is no tensor": (
        lambda net, x: {"a": [net.main(x), None], "b": ("b", 1.0, net.aux(x))},
        ["aux", "main"],
    ),
    "views of one tensor": (lambda net, x: net.main(x).split(1, dim=1), ["main"]),
    "the input itself": (lambda net, x: x, ["input"]),
    "the input beside a layer": (lambda net, x: (net.main(x), x), ["input", "main"]),
    "a parameter beside a layer": (lambda net, x: (net.main(x), net.aux.weight), ["main"]),
    "a constant beside a layer": (lambda net, x: (net.main(x), torch.ones(2)), ["main"]),
    "what was overwritten in part": (overwritten, ["aux", "main"]),
    "indices": (lambda net, x: (net.main(x).argmax(-1) + 1, net.aux(x).relu_()), ["main", "relu"]),
    "a mask": (lambda net, x: net.main(x) > 0, ["main"]),
}


@pytest.mark.parametrize(("returned", "expected"), SIGNALS.values(), ids=SIGNALS)
def test_the_output_is_joined_to_what_is_returned(
    source: Source, returned: Callable[[Two, torch.Tensor], Any], expected: list[str]
) -> None:
    assert ends(source(Two(returned), torch.zeros(2, 4))) == expected


def test_indices_that_are_handed_back_come_from_the_input(source: Source) -> None:
    model = Two(lambda net, tokens: (net.table(tokens), tokens + 1))
    assert ends(source(model, torch.zeros(2, 3, dtype=torch.long))) == ["input", "table"]


def test_repeated_layers_have_one_line_to_the_output(source: Source) -> None:
    class Deep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(4))

        def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
            states = [x]
            for layer in self.layers:
                states.append(layer(states[-1]))
            return states

    assert ends(source(Deep(), torch.zeros(2, 4))) == ["input", "layers.0"]
    assert ends(source(Deep(), torch.zeros(2, 4), collapse=False)) == ["0", "1", "2", "3", "input"]


def test_outputs_of_transformers_are_looked_into(source: Source) -> None:
    outputs = pytest.importorskip("transformers.modeling_outputs")
    model = Two(lambda net, x: outputs.BaseModelOutputWithPooling(net.main(x), net.aux(x)))
    assert ends(source(model, torch.zeros(2, 4))) == ["aux", "main"]
