"""What check claims to find, seeded one at a time: each is found under its own rule."""

from __future__ import annotations

import runpy
from math import log
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from fanin.checking import Report, check
from fanin.torch.planning import plan

LISTED = runpy.run_path(str(Path(__file__).with_name("corpus.py")))
CASES = LISTED["CASES"]
Attention, batch, labels, mlp = (LISTED[name] for name in ("Attention", "batch", "labels", "mlp"))


def rules(report: Report, least: str = "warning") -> set[str]:
    grave = ("error",) if least == "error" else ("error", "warning")
    return {finding.rule for finding in report.findings if finding.severity in grave}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.report.__name__)
def test_each_is_found_under_its_rule(case: Any) -> None:
    report = case.report()
    found = [finding for finding in report.findings if finding.rule == case.rule and finding.severity != "info"]
    assert found, rules(report)
    if case.verdict != "healthy":
        assert any(layer.verdict == case.verdict for layer in report.layers)
    if case.tensor:
        assert case.tensor in {finding.tensor for finding in found}


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh, nn.GELU])
def test_the_same_models_without_the_defect_are_healthy(activation: type[nn.Module]) -> None:
    model = mlp(activation=activation)
    report = check(model, batch(64, 64), labels(64), lr=1e-3, thorough=True, plan=plan(model, "xavier", batch(8, 64)))
    strays = [finding for finding in report.findings if finding.rule != "off-plan"]
    assert (report.verdict, strays) == ("healthy", [])


def test_attention_without_the_defect_is_healthy() -> None:
    model = nn.Sequential(Attention(32), nn.Linear(32, 8))
    report = check(model, batch(4, 24, 32))
    (entropy,) = [layer.measured.entropy for layer in report.layers if layer.measured.entropy is not None]
    assert (report.verdict, report.findings) == ("healthy", ())
    assert 0.7 < entropy < 1.0


def test_the_loss_of_logits_of_known_size() -> None:
    """For logits z ~ N(0, s²) the loss against independent labels is ln V + s²/2."""
    model = nn.Sequential(nn.Linear(256, 1000, bias=False))
    nn.init.normal_(model[0].weight, 0, 2.5 / 16, generator=torch.Generator().manual_seed(0))
    (finding,) = check(model, batch(64, 256), labels(64, 1000)).findings
    seen = float(finding.seen.split()[2])
    assert finding.rule == "loss-above-uniform"
    assert seen == pytest.approx(log(1000) + 2.5**2 / 2, abs=0.2)
