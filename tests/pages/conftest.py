"""A real browser, real reports, and pages opened in it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import fanin

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A headless Chromium of the system."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is on PATH, and CHROMIUM is not set")
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=found)
        yield opened
        opened.close()


@dataclass
class Opened:
    """A page in the browser, with all it said and asked for."""

    page: Any
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def settled(self) -> None:
        """Wait until the long tables are built, too."""
        self.page.evaluate(
            """async () => { while (!performance.getEntriesByName("complete").length) {
            await new Promise((done) => setTimeout(done, 10)); } }"""
        )


@pytest.fixture
def opened(browser: Any) -> Iterator[Callable[..., Opened]]:
    """Open a file in a fresh browser profile; the arguments go to Playwright's `new_context`."""
    contexts: list[Any] = []

    def open_file(path: Path, **options: Any) -> Opened:
        context = browser.new_context(**{"viewport": {"width": 1360, "height": 900}, "color_scheme": "light"} | options)
        contexts.append(context)
        there = Opened(context.new_page())
        there.page.on("console", lambda message: there.said.append(message.text))
        there.page.on("pageerror", lambda error: there.said.append(str(error)))
        there.page.on("dialog", lambda dialog: (there.said.append(f"dialog {dialog.message}"), dialog.dismiss()))
        there.page.on("request", lambda request: there.asked.append(request.url))
        there.page.goto(path.as_uri())
        there.settled()
        return there

    yield open_file
    for context in contexts:
        context.close()


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.up, self.act, self.down = (
            nn.LayerNorm(width),
            nn.Linear(width, 2 * width),
            nn.ReLU(),
            nn.Linear(2 * width, width),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.down(self.act(self.up(self.norm(x))))


class Net(nn.Module):
    """Three residual blocks, then six plain layers."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*[Block(32) for _ in range(3)])
        self.tail = nn.Sequential(*[part for _ in range(6) for part in (nn.Linear(32, 32), nn.ReLU())])
        self.head = nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.tail(self.blocks(x)))


@dataclass(frozen=True)
class Runs:
    """Two runs of one model: drawn far too small, and by He's rule."""

    sick: fanin.Report
    healthy: fanin.Report


@pytest.fixture(scope="session")
def runs() -> Runs:
    generator = torch.Generator().manual_seed(0)
    inputs, labels = torch.randn(64, 32, generator=generator), torch.randint(10, (64,), generator=generator)
    model = Net()
    law = fanin.initializers.Normal(std=0.01)
    plan = fanin.plan(model, "he", inputs)
    small = plan.override({name: law for name in plan if name.endswith("weight") and "norm" not in name}, "too small")
    fanin.materialize(model, small, seed=0)
    sick = fanin.check(model, inputs, labels, plan=small)
    fanin.materialize(model, plan, seed=0)
    return Runs(sick, fanin.check(model, inputs, labels, plan=plan))


@pytest.fixture(scope="session")
def sick_page(runs: Runs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return runs.sick.to_html(tmp_path_factory.mktemp("pages") / "sick.html")


@pytest.fixture(scope="session")
def compared_page(runs: Runs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return runs.healthy.to_html(tmp_path_factory.mktemp("pages") / "compared.html", before=runs.sick)
