"""The report as record, text and JSON, and the comparison with a plan."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError

import pytest
import torch
from torch import nn

from fanin.checking import Report, check
from fanin.torch.materialize import materialize
from fanin.torch.planning import plan


@pytest.fixture
def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10))


@pytest.fixture
def report(model: nn.Sequential) -> Report:
    return check(model, torch.randn(16, 64, generator=torch.Generator().manual_seed(0)))


def test_text(report: Report) -> None:
    lines = str(report).splitlines()
    assert lines[0] == "healthy"
    assert lines[2].split() == [
        "layer",
        "kind",
        "E[h²]",
        "expected",
        "std",
        "zeros",
        "dead",
        "E[g²]",
        "expected",
        "verdict",
    ]
    assert [line.split()[0] for line in lines[3:]] == ["0", "1", "2"]
    assert lines[5].split()[-2:] == ["–", "healthy"]


def test_json(report: Report) -> None:
    data = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert (data["verdict"], data["starts"], data["findings"]) == ("healthy", None, [])
    assert data["layers"][0]["weight"] == "0.weight"
    assert data["layers"][1]["forward"]["zeros"] == pytest.approx(0.5, abs=0.1)
    assert data["layers"][0]["expected_forward"] == pytest.approx(data["layers"][0]["forward"]["second"], rel=0.5)


def test_frozen(report: Report) -> None:
    with pytest.raises(FrozenInstanceError):
        report.verdict = "dead"  # pyright: ignore


def test_weights_off_the_plan_are_noticed(model: nn.Sequential) -> None:
    x = torch.randn(16, 64, generator=torch.Generator().manual_seed(0))
    wanted = plan(model, "he", x)
    strayed = {finding.tensor for finding in check(model, x, plan=wanted).findings}
    assert {"0.weight", "2.weight"} <= strayed
    materialize(model, wanted, seed=0)
    report = check(model, x, plan=wanted)
    assert report.findings == ()
    std = wanted["0.weight"].std
    assert std is not None
    assert report.layers[0].measured.expected_forward == pytest.approx(64 * std**2 * float(x.pow(2).mean()), rel=1e-5)


def test_shared_modules_and_functions_have_rows_of_their_own() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.act = nn.Linear(8, 8), nn.Linear(8, 8), nn.Tanh()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(self.act(self.b(self.act(self.a(x)))))

    names = [layer.name for layer in check(Net(), torch.randn(4, 8)).layers]
    assert names == ["a", "act", "b", "act#2", "act:relu"]
