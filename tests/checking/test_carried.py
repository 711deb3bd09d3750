"""Small signals that are carried past a layer are no defect; small signals that are not are one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fanin.checking import Report, check


def batch(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


class Block(nn.Module):
    """x + s·f(x), or s·f(x) alone, with normalisation in front or not."""

    def __init__(self, scale: float, shortcut: bool, norm: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(32) if norm else nn.Identity()
        self.up, self.down = nn.Linear(32, 32, bias=False), nn.Linear(32, 32, bias=False)
        self.scale, self.shortcut = scale, shortcut
        for layer in (self.up, self.down):
            nn.init.orthogonal_(layer.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        branch = self.scale * self.down(torch.tanh(self.up(self.norm(x))))
        return x + branch if self.shortcut else branch


def net(scale: float, *, shortcut: bool, norm: bool, last: nn.Module | None = None) -> Report:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        blocks = [Block(scale, shortcut, norm) for _ in range(4)]
        model = nn.Sequential(nn.Linear(32, 32), *blocks, last or nn.Identity(), nn.Linear(32, 8))
    return check(model, batch(32, 32))


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("scale", [1e-3, 1e-6])
def test_branches_beside_a_shortcut_may_be_small(scale: float, norm: bool) -> None:
    report = net(scale, shortcut=True, norm=norm)
    assert [str(finding) for finding in report.findings] == []


def test_the_same_blocks_without_the_shortcut_vanish() -> None:
    report = net(1e-3, shortcut=False, norm=False)
    assert report.verdict == "vanishing"


def test_a_normalisation_brings_the_signal_back() -> None:
    last = nn.LayerNorm(32, eps=1e-30)
    assert net(1e-3, shortcut=False, norm=False, last=last).verdict == "healthy"
    # An ε that is larger than the signal does not.
    small = net(1e-3, shortcut=False, norm=False, last=nn.LayerNorm(32))
    assert "vanishing" in {layer.verdict for layer in small.layers}


def test_gradients_that_reach_no_layer_before_vanish() -> None:
    """Sigmoids have a slope of at most 1/4, while their outputs stay at 1/2."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        hidden = [part for _ in range(12) for part in (nn.Linear(32, 32), nn.Sigmoid())]
        model = nn.Sequential(*hidden, nn.Linear(32, 8))
    report = check(model, batch(32, 32))
    assert {layer.direction for layer in report.layers if layer.verdict == "vanishing"} >= {"backward"}


def test_another_signal_does_not_bring_the_first_one_back() -> None:
    """A decoder's embedding says nothing of its encoder."""

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Sequential(*(nn.Linear(32, 32, bias=False) for _ in range(5)))
            self.table, self.head = nn.Embedding(50, 32), nn.Linear(32, 8)
            for layer in self.encoder:
                nn.init.normal_(layer.weight, 0, 0.01)

        def forward(self, x: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
            seen = self.encoder(x)
            return self.head(self.table(ids) + seen)

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Two()
    report = check(model, (batch(32, 32), torch.arange(32)))
    assert "encoder.2" in {layer.name for layer in report.layers if layer.verdict == "vanishing"}


@pytest.mark.parametrize("seed", range(4))
def test_a_normalisation_below_its_epsilon_passes_on_how_its_inputs_scatter(seed: int) -> None:
    """E[h²] of few units is off by far more than the rounding of a mean, and an ε that outweighs it keeps that."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False), nn.LayerNorm(4, eps=10.0))
        for layer in model[:2]:
            nn.init.normal_(layer.weight, 0, 0.2)
    report = check(model, batch(256, 4))
    assert [finding.rule for finding in report.findings if finding.rule == "unexpected-moments"] == []
