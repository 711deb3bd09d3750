"""Drawings as text: the nodes of Graphviz's own language."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import nn

import fanin

pytest.importorskip("graphviz")


@pytest.fixture
def source(tmp_path: Path) -> Callable[..., str]:
    """What `fanin.draw` writes as .dot."""

    def written(model: nn.Module | fanin.Captured, inputs: Any = None, **options: Any) -> str:
        return fanin.draw(model, inputs, tmp_path / "net.dot", **options).read_text()

    return written


def boxes(text: str) -> dict[str, str]:
    """The words of each box by its name in the graph."""
    found = re.findall(r"^\s*(u\d+) \[label=<(.*)>\]$", text, re.MULTILINE)
    return {name: " | ".join(filter(None, re.split(r"<[^>]*>", label))) for name, label in found}


def lines(text: str) -> set[tuple[str, str]]:
    """From box to box, by the first word of each."""
    names = {name: label.split(" | ")[0] for name, label in boxes(text).items()}
    return {(names[one], names[other]) for one, other in re.findall(r"(u\d+) -> (u\d+)", text)}


def skips(text: str) -> set[tuple[str, str]]:
    """The lines that are drawn as residual connections."""
    orange = "\n".join(line for line in text.splitlines() if "->" not in line or "#c2410c" in line)
    return lines(orange)
